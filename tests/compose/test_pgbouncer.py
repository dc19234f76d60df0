"""PgBouncer put before the api of the running stack, killed, and taken out again; nothing may be lost meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import ComposeStack, Load

OVERLAY = ("-f", "docker-compose.yml", "-f", "deploy/compose/pgbouncer.yml")


def server_connections(stack: ComposeStack) -> set[str]:
    """Which programs serve the api, by the address that Postgres sees."""
    sql = "SELECT DISTINCT client_addr FROM pg_stat_activity WHERE application_name = 'sharedjox-api'"
    return set(stack.compose("exec", "-T", "postgres", "psql", "-U", "sharedjox", "-tA", "-c", sql).split())


def address(stack: ComposeStack, service: str) -> str:
    """The container's address on the network of the databases."""
    return stack.compose(*OVERLAY, "exec", "-T", service, "hostname", "-i").split()[0]


@pytest.mark.timeout(400)
async def test_pgbouncer_is_switched_on_killed_and_switched_off_under_load(stack: ComposeStack, load: Load) -> None:
    await load.goes_on()
    up = ("up", "--detach", "--no-deps", "--wait")
    await asyncio.to_thread(stack.compose, *OVERLAY, *up, "--build", "pgbouncer")
    await asyncio.to_thread(stack.compose, *OVERLAY, *up, "api")
    await load.goes_on()
    assert server_connections(stack) == {address(stack, "pgbouncer")}
    await asyncio.to_thread(stack.compose, *OVERLAY, "kill", "pgbouncer")
    await asyncio.to_thread(stack.compose, *OVERLAY, "up", "--detach", "--no-deps", "--no-recreate", "pgbouncer")
    await load.goes_on()
    await asyncio.to_thread(stack.compose, *up, "api")
    await load.goes_on()
    # PgBouncer keeps its own for a while.
    assert server_connections(stack) - {address(stack, "pgbouncer")}
    await asyncio.to_thread(stack.compose, *OVERLAY, "rm", "--stop", "--force", "pgbouncer")
    await load.settle()
