"""The api through a real PgBouncer, with the file of deploy/pgbouncer; whoever may not go through it says so."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from sharedjox_outbox.postgres import asyncpg_address

from tests.support.databases import Databases
from tests.support.gateway import pusher_client
from tests.support.pgbouncer import PgBouncer, keeps_statements_apart, running_pgbouncer
from tests.support.polling import eventually, scaled
from tests.support.processes import clean_environment, python_module
from tests.support.stack import Account, Stack, running_stack

SERVER_CONNECTIONS = 2
AT_ONCE = 12
ROUNDS = 4
RELAYS_OWN = "synchronous_commit,enable_bitmapscan,enable_seqscan"
"""What a relay asks of its session beside what the api asks."""


def as_it_can() -> str:
    """DATABASE_PREPARED_STATEMENTS for the PgBouncer that is here: Debian 12 has 1.18, Debian 13 has 1.24."""
    return str(keeps_statements_apart()).lower()


@dataclass(frozen=True, slots=True)
class Pooled:
    """A platform whose api reaches Postgres through PgBouncer, and nobody else does."""

    stack: Stack
    pooler: PgBouncer


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooled]:
    folder = tmp_path_factory.mktemp("pooled")
    with contextlib.ExitStack() as cleanup:
        poolers: list[PgBouncer] = []
        settings = {"DATABASE_POOL_SIZE": "20", "DATABASE_PREPARED_STATEMENTS": as_it_can()}

        def port_for(service: str, server: str, port: int) -> int:
            if (service, server) != ("api", "postgres"):
                return port
            few = {"default_pool_size": str(SERVER_CONNECTIONS)}
            poolers.append(cleanup.enter_context(running_pgbouncer(folder, port, few)))
            return poolers[0].port

        with running_stack(folder, gateways=1, extra_env=settings, reached_by=port_for) as stack:
            yield Pooled(stack, poolers[0])


async def work(account: Account, worker: int) -> list[int]:
    """Post jobs, and read each of them by both ways that the api has (in a transaction, and without one)."""
    posted = []
    async with account.http() as http:
        for number in range(ROUNDS):
            title = f"Shared connection {worker}-{number}"
            job = {"title": title, "budgetMin": 5, "budgetMax": 9, "requiredSkills": ["sql"], "estimatedDuration": 30}
            answer = await http.post("/api/jobs", json=job, headers={"Idempotency-Key": f"pool-{worker}-{number}"})
            assert answer.status_code == 201, answer.text
            posted.append(answer.json()["id"])
            read, listed = await asyncio.gather(
                http.get(f"/api/jobs/{posted[-1]}"), http.get("/api/jobs", params={"limit": 5})
            )
            assert (read.status_code, read.json()["title"]) == (200, title)
            assert listed.status_code == 200
    return posted


async def connections_of_the_api(stack: Stack) -> int:
    """How many processes of Postgres serve the api."""
    connection = await asyncpg.connect(asyncpg_address(stack.env["DATABASE_URL"]))
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sharedjox-api'"
        )
        return count
    finally:
        await connection.close()


async def test_many_requests_at_once_share_few_connections_and_nothing_is_mixed_up(pooled: Pooled) -> None:
    account = await pooled.stack.log_in("client")
    async with pusher_client(pooled.stack.ports.gateway) as listener:
        await listener.subscribe("jobs.discovery")
        done = await asyncio.gather(*(work(account, number) for number in range(AT_ONCE)))
        posted = sorted(job for jobs in done for job in jobs)
        assert 1 <= await connections_of_the_api(pooled.stack) <= SERVER_CONNECTIONS
        await listener.wait_for("job.posted", count=len(posted))
        assert sorted(frame.data["job"]["id"] for frame in listener.of("job.posted")) == posted


async def test_the_api_is_back_when_the_pooler_is(pooled: Pooled) -> None:
    account = await pooled.stack.log_in("client")
    async with account.http() as http:
        pooled.pooler.service.kill()
        try:
            assert (await http.get("/api/wallet")).status_code == 503
        finally:
            pooled.pooler.start()

        async def answers() -> bool:
            return (await http.get("/api/wallet")).status_code == 200

        await eventually(answers, 20, what="the api answers again")


# --- who refuses ------------------------------------------------------------------------------------------------------

IGNORED = (
    "statement_timeout,lock_timeout,idle_in_transaction_session_timeout,jit,plan_cache_mode,tcp_keepalives_idle,"
    "tcp_keepalives_interval,tcp_keepalives_count,tcp_user_timeout"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program that did not want to start left."""

    status: int
    error: str


def start(module: str, *arguments: str, url: str, **env: str) -> Ended:
    """Run a program that is expected to end by itself."""
    done = subprocess.run(
        python_module(module, *arguments),
        env=clean_environment({"DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0", **env}),
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    return Ended(done.returncode, done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("ignored", "what"),
    [(IGNORED, "as it is for the api"), (f"{IGNORED},{RELAYS_OWN}", "as if everything could be ignored")],
    ids=["as the api needs it", "ignoring everything"],
)
def test_whoever_needs_a_session_says_that_it_is_no_way_for_him(
    tmp_path: Path, databases: Databases, ignored: str, what: str
) -> None:
    name, direct = databases.create_migrated()
    try:
        with running_pgbouncer(tmp_path, databases.server.port, {"ignore_startup_parameters": ignored}) as pooler:
            url = pooler.url(direct)
            worker = start("sharedjox_worker.main", url=url, WORKER_METRICS_PORT="0")
            assert worker.status == 2, (what, worker.error)
            assert "DATABASE_URL leads through a connection pooler: workers" in worker.error
            migration = start("sharedjox_api.main", "migrate", url=url)
            assert migration.status == 2
            assert "DATABASE_URL leads through a connection pooler: migrations" in migration.error
            doctor = start("sharedjox_operator.main", "doctor", url=url)
            assert doctor.status == 1
            assert "DATABASE_URL leads through a connection pooler: workers, migrations" in doctor.error
    finally:
        databases.drop(name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"connect_query": None}, ["loses settings", "jit is 'on'", "plan_cache_mode is 'auto'", "statement_timeout"]),
        ({"connect_query": "SET jit = off"}, ["loses settings", "plan_cache_mode is 'auto'"]),
        ({"ignore_startup_parameters": "jit"}, ["refuses the session", "unsupported startup parameter"]),
        ({"max_prepared_statements": "0"}, ["prepared statements", "DATABASE_PREPARED_STATEMENTS=false"]),
    ],
    ids=["no settings", "some settings", "settings refused", "prepared statements mixed"],
)
def test_the_api_does_not_start_on_a_pooler_that_is_set_wrong(
    tmp_path: Path, databases: Databases, changes: dict[str, str | None], says: list[str]
) -> None:
    name, direct = databases.create_migrated()
    try:
        with running_pgbouncer(tmp_path, databases.server.port, changes) as pooler:
            prepared = "true" if "max_prepared_statements" in changes else as_it_can()
            ended = start("sharedjox_api.main", "serve", url=pooler.url(direct), DATABASE_PREPARED_STATEMENTS=prepared)
    finally:
        databases.drop(name)
    assert ended.status == 2, ended.error
    for words in (*says, "docs/operations.md#pgbouncer"):
        assert words in ended.error
