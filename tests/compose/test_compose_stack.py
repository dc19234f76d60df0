"""The compose stack for real: the journey over TLS, every container killed under load, a rolling update."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import SUBSCRIBERS, ComposeStack, Load


def test_a_job_goes_from_post_to_payment(stack: ComposeStack) -> None:
    assert stack.compose("--profile", "test", "run", "--rm", "smoke").startswith("ok: ")


def test_services_run_as_nobody_on_a_read_only_root(stack: ComposeStack) -> None:
    for service in ("api", "worker", "gateway-1"):
        says = stack.compose("exec", "-T", service, "sh", "-c", "id -u; touch /x 2>/dev/null || echo refused")
        assert says.split() == ["10001", "refused"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", ["gateway-1", "gateway-2", "worker", "api", "redis", "postgres", "balancer"])
async def test_a_killed_container_loses_nothing(stack: ComposeStack, load: Load, service: str) -> None:
    await load.goes_on()
    await asyncio.to_thread(stack.compose, "kill", service)
    await asyncio.to_thread(stack.compose, "up", "--detach", "--no-deps", "--no-recreate", service)
    await load.goes_on()
    await load.settle()


@pytest.mark.timeout(300)
async def test_a_rolling_update_loses_nothing(stack: ComposeStack, load: Load) -> None:
    await load.goes_on()
    for service in ("worker", "api", "gateway-1", "gateway-2"):
        arguments = ("up", "--detach", "--no-deps", "--force-recreate", "--wait", service)
        await asyncio.to_thread(stack.compose, *arguments)
        await load.goes_on()
    await load.settle()
    assert sum(one.reconnects for one in load.subscribers) >= SUBSCRIBERS
