"""The REST API on one core with a million jobs: claims per second, mixed requests per second, discovery's latency.

    python -m tests.benchmarks.api [--claims 3000] [--requests 8000] [--jobs 1000000] [--profile claims|mixed]

Postgres, Redis and the load client run on the other core. Every answer is checked: a claim that is not 200, or a
mixed request that is neither 200 nor 201, counts as refused. Discovery is timed at the database, one query at a time.
`--profile` prints where the api's time went instead.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import datetime as dt
import json
import os
import pstats
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sharedjox_api.auth.tokens import AccessTokens
from sharedjox_api.settings import SAMPLE_JWT_SECRET
from sharedjox_devstack.ports import free_port, http_status
from sharedjox_devstack.postgres import EmbeddedPostgres
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_marketplace.accounts.actions import RegisterAction, StartSessionAction
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.database import create_engine
from sharedjox_marketplace.jobs.discovery import JobFilter, list_jobs
from sharedjox_marketplace.jobs.rules import JobStatus
from sharedjox_marketplace.unit_of_work import Transactor
from sharedjox_marketplace.wallet.actions import ConfirmTransactionAction, DepositAction
from sqlalchemy import text

from .api_load import LoadResult
from .machine import CLIENT_CORE, SERVER_CORE, CpuMeter, on_core, pin, take_priority
from .report import Report, percentile, read_budgets
from .servers import process, wait_for

CONNECTIONS = 16
CLIENTS = FREELANCERS = 50
WALLET_CENTS = 100_000_00
WARM_UP = 300
DISCOVERIES = 1200


@dataclass(frozen=True, slots=True)
class World:
    """Who is there: bearer tokens of clients and freelancers, and ids of active jobs."""

    clients: list[str]
    freelancers: list[str]
    jobs: list[int]


def request(method: str, path: str, token: str, body: object = None) -> bytes:
    """A complete HTTP request."""
    content = json.dumps(body).encode() if body is not None else b""
    kind = "Content-Type: application/json\r\n" if content else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{kind}"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def populate(url: str, jobs: int) -> World:
    """People with sessions and money, and active jobs of many clients."""
    engine = create_engine(url, pool_size=4, statement_timeout_ms=0)
    run, tokens = Transactor(engine).run, AccessTokens(SAMPLE_JWT_SECRET, lifetime_seconds=3600)
    people: dict[Role, list[str]] = {Role.CLIENT: [], Role.FREELANCER: []}
    for role in people:
        for number in range(CLIENTS):
            name = f"{role.value} {number}"
            register = RegisterAction(f"{role.value}{number}@bench.test", name, "none", role, ["react", "python"])
            user = await run(register)
            grant = await run(StartSessionAction(user, dt.timedelta(hours=1)))
            people[role].append(tokens.issue(user.id, grant.session_id))
            if role is Role.CLIENT:
                announced = await run(DepositAction(Actor(user.id, role), WALLET_CENTS))
                await run(ConfirmTransactionAction(None, announced.id))
    async with engine.begin() as connection:
        # Filling an inverted index row by row takes minutes, building it seconds.
        inverted = [
            (row.indexname, row.indexdef)
            for row in await connection.execute(
                text("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'jobs' AND indexdef LIKE '%gin%'")
            )
        ]
        for name, _ in inverted:
            await connection.execute(text(f"DROP INDEX {name}"))
        await connection.execute(text(POPULATE), {"clients": CLIENTS, "jobs": jobs})
        for _, definition in inverted:
            await connection.execute(text(definition))
        found = await connection.execute(
            text("SELECT id FROM jobs WHERE status = 'active' ORDER BY random() LIMIT 30000")
        )
        ids = list(found.scalars())
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM ANALYZE"))
    await engine.dispose()
    return World(people[Role.CLIENT], people[Role.FREELANCER], ids)


POPULATE = """
INSERT INTO jobs (client_id, title, description, budget_min_cents, budget_max_cents, status, required_skills,
                  estimated_duration, created_at, updated_at)
SELECT 1 + n % :clients,
       (ARRAY['Build','Fix','Design','Translate','Test','Write'])[1 + n % 6] || ' '
       || (ARRAY['dashboard','shop','logo','page','form','api','app','report'])[1 + (n / 6) % 8] || ' ' || n,
       'Some text about job ' || n || ' word' || n % 5000 || ' and term' || n * 7919 % 100000,
       1000 + n * 37 % 50000, 6000 + n * 37 % 50000, CASE WHEN n % 5 < 3 THEN 'active' ELSE 'cancelled' END,
       ARRAY[(ARRAY['react','python','figma','go','rust','sql','german','excel'])[1 + n % 8], 'skill' || n % 300,
             'rare' || n % 40000], 60, now(), now()
FROM generate_series(CAST(1 AS bigint), :jobs) AS n
"""


def discovery_filters(chance: random.Random) -> dict[str, JobFilter]:
    """One filter of every kind, by its name. A skill and a word that never meet are the worst that can be asked."""
    return {
        "active": JobFilter(status=JobStatus.ACTIVE),
        "common skill": JobFilter(status=JobStatus.ACTIVE, skill=chance.choice(["react", "german"])),
        "skill of 1 in 300": JobFilter(status=JobStatus.ACTIVE, skill=f"skill{chance.randrange(300)}"),
        "rare skill": JobFilter(status=JobStatus.ACTIVE, skill=f"rare{chance.randrange(40_000)}"),
        "common words": JobFilter(
            status=JobStatus.ACTIVE, text=chance.choice(["dashboard", "build shop", "logo -fix"])
        ),
        "word of 1 in 5,000": JobFilter(status=JobStatus.ACTIVE, text=f"word{chance.randrange(5000)}"),
        "rare word": JobFilter(status=JobStatus.ACTIVE, text=f"term{chance.randrange(100_000)}"),
        "budget up to": JobFilter(status=JobStatus.ACTIVE, max_budget_cents=chance.randrange(1000, 60_000)),
        "budget from": JobFilter(status=JobStatus.ACTIVE, min_budget_cents=chance.randrange(6000, 70_000)),
        "skill and word that never meet": JobFilter(status=JobStatus.ACTIVE, text="api", skill="sql"),
    }


async def discovery_latencies(url: str, queries: int) -> list[tuple[float, str, str]]:
    """Milliseconds of single discovery pages, the filter's name and what was asked; filters of every kind in turn.

    The first quarter warms statements and caches and is left out.
    """
    chance = random.Random(11)
    engine = create_engine(url)
    took = []
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for number in range(queries):
            filters = discovery_filters(chance)
            name = list(filters)[number % len(filters)]
            before_id = chance.choice([None, chance.randrange(1, 1_000_000)])
            began = time.perf_counter()
            await list_jobs(connection, filters[name], before_id=before_id, limit=20)
            took.append(((time.perf_counter() - began) * 1000, name, f"{filters[name]} before {before_id}"))
    await engine.dispose()
    return took[len(took) // 4 :]


def report_discovery(report: Report, took: Sequence[tuple[float, str, str]]) -> None:
    """Percentiles of all, and of each kind in the report's details."""
    milliseconds = [one for one, _, _ in took]
    report.add(discovery_p50_ms=percentile(milliseconds, 0.5), discovery_p99_ms=percentile(milliseconds, 0.99))
    by_kind: dict[str, list[float]] = {}
    for one, name, _ in took:
        by_kind.setdefault(name, []).append(one)
    report.details["discovery_ms_by_filter"] = {
        name: {"p50": round(percentile(some, 0.5), 1), "p99": round(percentile(some, 0.99), 1)}
        for name, some in by_kind.items()
    }
    report.details["slowest_discoveries"] = sorted(took, reverse=True)[:10]


def claim_requests(world: World, count: int) -> list[bytes]:
    """Each claims another job."""
    return [
        request("POST", f"/api/jobs/{world.jobs.pop()}/claim", world.freelancers[number % FREELANCERS])
        for number in range(count)
    ]


def mixed_requests(world: World, count: int) -> list[bytes]:
    """What a site's visitors do: mostly look, sometimes post, claim and pay in."""
    chance = random.Random(7)
    job = {
        "title": "Posted", "budgetMin": 10, "budgetMax": 20.5, "requiredSkills": ["react"], "estimatedDuration": 60,
    }  # fmt: skip
    made = []
    for _ in range(count):
        client, freelancer = chance.choice(world.clients), chance.choice(world.freelancers)
        draw = chance.random()
        if draw < 0.35:
            made.append(request("GET", "/api/jobs?status=active&limit=20", freelancer))
        elif draw < 0.60:
            made.append(request("GET", f"/api/jobs/{chance.choice(world.jobs)}", freelancer))
        elif draw < 0.75:
            made.append(request("GET", "/api/wallet", client))
        elif draw < 0.85:
            made.append(request("GET", "/api/notifications", client))
        elif draw < 0.92:
            made.append(request("POST", "/api/jobs", client, job))
        elif draw < 0.96:
            made.append(request("POST", "/api/wallet/deposits", client, {"amount": 5}))
        else:
            made.extend(claim_requests(world, 1))
    return made


def load(port: int, requests: Sequence[bytes]) -> LoadResult:
    """Run the load client on its core."""
    order = {
        "port": port,
        "connections": CONNECTIONS,
        "requests": [base64.b64encode(one).decode() for one in requests],
    }
    command = on_core(CLIENT_CORE, [sys.executable, "-m", "tests.benchmarks.api_load"])
    done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=True)
    return LoadResult(**json.loads(done.stdout))


@contextlib.contextmanager
def serving(folder: Path, env: dict[str, str], *, profile: bool) -> Iterator[tuple[int, int]]:
    """The api by its real entry point on its core: port and process id."""
    port = free_port()
    profiler = ["-m", "cProfile", "-o", str(folder / "profile")] if profile else []
    command = [sys.executable, *profiler, "-m", "sharedjox_api.main", "serve"]
    with process(
        on_core(SERVER_CORE, command), folder / "api.log", env={**os.environ, **env, "API_PORT": str(port)}
    ) as child:
        wait_for(lambda: http_status(port, "/readyz") == 200, "the api")
        yield port, child.pid
        if profile:
            # cProfile writes on an interrupt, not on a termination.
            child.send_signal(signal.SIGINT)
            child.wait(20)


def measure(report: Report, name: str, port: int, pid: int, requests: Sequence[bytes], fine: set[str]) -> None:
    """One load, its figures into the report."""
    meter = CpuMeter([pid])
    result = load(port, requests)
    used = meter.read()
    answered = sum(result.statuses.values())
    report.add(
        **{
            f"{name}_per_second": answered / result.seconds,
            f"{name}_per_cpu_second": answered / max(used.own_seconds, 0.01),
            f"{name}_p50_ms": percentile(result.latencies_ms, 0.5),
            f"{name}_p99_ms": percentile(result.latencies_ms, 0.99),
            f"{name}_refused": sum(n for status, n in result.statuses.items() if status not in fine),
            f"{name}_foreign_cores": used.foreign_cores,
        }
    )


def bench(arguments: argparse.Namespace, folder: Path) -> int:
    """Start everything, measure, report."""
    postgres = EmbeddedPostgres(folder / "postgres", free_port(), durable=False)
    redis = EmbeddedRedis(folder / "redis", free_port(), durable=False)
    report = Report("api", read_budgets("api"))
    with contextlib.ExitStack() as cleanup:
        for server in (postgres, redis):
            server.start()
            cleanup.callback(server.stop)
            pin(server.process.pid, CLIENT_CORE)
        url = postgres.create_database("bench")
        env = {"DATABASE_URL": url, "REDIS_URL": redis.url, "APP_ENV": "test", "LOG_LEVEL": "warning"}
        migrate = [sys.executable, "-m", "sharedjox_api.main", "migrate"]
        subprocess.run(migrate, env={**os.environ, **env}, check=True, capture_output=True)
        world = asyncio.run(populate(url, arguments.jobs))
        if not arguments.profile:
            report_discovery(report, asyncio.run(discovery_latencies(url, DISCOVERIES)))
        port, pid = cleanup.enter_context(serving(folder, env, profile=bool(arguments.profile)))
        load(port, claim_requests(world, WARM_UP // 3) + mixed_requests(world, WARM_UP))
        if arguments.profile in (None, "claims"):
            measure(report, "claims", port, pid, claim_requests(world, arguments.claims), {"200"})
        if arguments.profile in (None, "mixed"):
            measure(report, "mixed", port, pid, mixed_requests(world, arguments.requests), {"200", "201"})
    if arguments.profile:
        sys.stdout.write(report.table() + "\n")
        pstats.Stats(str(folder / "profile")).sort_stats("tottime").print_stats(45)
        return 0
    return report.finish()


def main() -> None:
    """Entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=3000)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--profile", choices=("claims", "mixed"))
    arguments = parser.parse_args()
    take_priority()
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder:
        began = time.monotonic()
        status = bench(arguments, Path(folder))
        sys.stdout.write(f"({time.monotonic() - began:.0f} s)\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
