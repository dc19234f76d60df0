"""From the commit of a job to the frame on a subscriber's socket, through the whole platform.

    python -m tests.benchmarks.latency [--rate 50] [--seconds 20] [--subscribers 4]

Starts api, worker, two gateways and their servers as processes of this machine. Posts jobs over REST in an open loop (a
slow answer does not delay the next request) while subscribers of `jobs.discovery` listen. "Commit" is the moment when
the outbox row was written inside the transaction, so the commit itself is part of what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import uvloop
from sharedjox_contracts.channels import JOBS_DISCOVERY
from sharedjox_outbox.postgres import asyncpg_address
from websockets.asyncio.client import ClientConnection, connect

from tests.support.stack import Account, Stack, running_stack

from .report import Report, percentile, read_budgets

SILENCE_SECONDS = 3.0
WARM_UP_SECONDS = 2.0
STAGES = {
    "doorbell_ms": ("api", "sharedjox_api_doorbell_seconds"),
    "publish_ms": ("worker", "sharedjox_relay_publish_seconds"),
    "commit_to_publish_ms": ("worker", "sharedjox_relay_commit_to_publish_seconds"),
}
"""Means of histograms that the services keep themselves."""


@dataclass(slots=True)
class Subscriber:
    """One socket: event ids with the time they came, and the offsets in the order they came."""

    socket: ClientConnection
    received_at: dict[str, float] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)
    repeated: int = 0

    async def subscribe(self) -> None:
        """Join `jobs.discovery`."""
        await self.socket.recv()
        await self.socket.send(
            orjson.dumps({"event": "pusher:subscribe", "data": {"channel": JOBS_DISCOVERY}}).decode()
        )
        while "subscription_succeeded" not in str(await self.socket.recv()):
            pass

    async def listen(self) -> None:
        """Until cancelled."""
        async for message in self.socket:
            now = time.time()
            frame = orjson.loads(message)
            if frame["event"] == "job.posted":
                self.repeated += frame["id"] in self.received_at
                self.received_at.setdefault(frame["id"], now)
                self.offsets.append(frame["offset"])

    @property
    def disorder(self) -> int:
        """Places where the next offset is not the next number."""
        return sum(after != before + 1 for before, after in zip(self.offsets, self.offsets[1:], strict=False))


async def post_jobs(account: Account, *, rate: float, seconds: float) -> tuple[list[float], int]:
    """Post at a fixed rate whatever the answers take; returns how long each request took, and how many were refused."""
    took: list[float] = []
    refused = 0

    async def post(http: httpx.AsyncClient, number: int) -> None:
        nonlocal refused
        started = time.perf_counter()
        answer = await http.post(
            "/api/jobs",
            json={
                "title": f"Benchmark {number}",
                "budgetMin": 50,
                "budgetMax": 150,
                "requiredSkills": ["react", "typescript"],
                "estimatedDuration": 120,
            },
        )
        took.append(time.perf_counter() - started)
        refused += answer.status_code != 201

    async with account.http() as http, asyncio.TaskGroup() as group:
        started = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            group.create_task(post(http, number))
    return took, refused


async def committed_since(database_url: str, start_id: int) -> dict[str, float]:
    """Event ids of the outbox after a row id, with the time their row was written."""
    connection = await asyncpg.connect(asyncpg_address(database_url))
    rows = await connection.fetch(
        "SELECT event_id, extract(epoch FROM created_at)::float8 FROM outbox_messages WHERE id > $1 AND channel = $2",
        start_id,
        JOBS_DISCOVERY,
    )
    await connection.close()
    return {str(event_id): committed for event_id, committed in rows}


async def newest_row(database_url: str) -> int:
    """The outbox's newest row id."""
    connection = await asyncpg.connect(asyncpg_address(database_url))
    newest: int = await connection.fetchval("SELECT coalesce(max(id), 0) FROM outbox_messages")
    await connection.close()
    return newest


async def read_histograms(stack: Stack) -> dict[str, tuple[float, float]]:
    """Sum and count of each stage's histogram."""
    ports = {"api": stack.ports.api, "worker": stack.ports.worker_metrics}
    found: dict[str, tuple[float, float]] = {}
    async with httpx.AsyncClient() as http:
        texts = {name: (await http.get(f"http://127.0.0.1:{port}/metrics")).text for name, port in ports.items()}
    for stage, (service, metric) in STAGES.items():
        totals = [
            sum(
                float(value) for value in re.findall(rf"^{metric}_{part}(?:\{{[^}}]*\}})? (\S+)$", texts[service], re.M)
            )
            for part in ("sum", "count")
        ]
        found[stage] = totals[0], totals[1]
    return found


def stage_means(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Milliseconds per stage, over what happened between two readings."""
    means = {}
    for stage, (total, count) in after.items():
        counted = count - before[stage][1]
        if counted:
            means[f"mean_{stage}"] = (total - before[stage][0]) / counted * 1000
    return means


async def wait_for_all(subscribers: Sequence[Subscriber], expected: int) -> None:
    """Until every subscriber has everything, or nothing has come for a while."""
    heard, since = -1, time.monotonic()
    while any(len(one.received_at) < expected for one in subscribers) and time.monotonic() - since < SILENCE_SECONDS:
        now_heard = sum(len(one.received_at) for one in subscribers)
        if now_heard != heard:
            heard, since = now_heard, time.monotonic()
        await asyncio.sleep(0.02)


async def measure(stack: Stack, options: argparse.Namespace) -> dict[str, float]:
    """Warm up, measure, compare with the database."""
    account = await stack.log_in("client")
    subscribers = [Subscriber(await connect(stack.websocket_url)) for _ in range(options.subscribers)]
    for one in subscribers:
        await one.subscribe()
    listening = [asyncio.create_task(one.listen()) for one in subscribers]
    await post_jobs(account, rate=options.rate, seconds=WARM_UP_SECONDS)
    await asyncio.sleep(0.5)
    start_id = await newest_row(stack.env["DATABASE_URL"])
    for one in subscribers:
        one.received_at.clear()
    before = await read_histograms(stack)
    took, refused = await post_jobs(account, rate=options.rate, seconds=options.seconds)
    committed = await committed_since(stack.env["DATABASE_URL"], start_id)
    await wait_for_all(subscribers, len(committed))
    after = await read_histograms(stack)
    for task in listening:
        task.cancel()
    for one in subscribers:
        await one.socket.close()
    latencies = [
        one.received_at[key] - at for one in subscribers for key, at in committed.items() if key in one.received_at
    ]
    return {
        "events": len(committed),
        "refused": refused,
        "p50_ms": percentile(latencies, 0.5) * 1000,
        "p95_ms": percentile(latencies, 0.95) * 1000,
        "p99_ms": percentile(latencies, 0.99) * 1000,
        "max_ms": max(latencies) * 1000,
        "lost": sum(key not in one.received_at for one in subscribers for key in committed),
        "repeated": sum(one.repeated for one in subscribers),
        "out_of_order": sum(one.disorder for one in subscribers),
        "request_p50_ms": percentile(took, 0.5) * 1000,
        "request_p99_ms": percentile(took, 0.99) * 1000,
        **stage_means(before, after),
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=50, help="jobs posted per second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--subscribers", type=int, default=4)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as folder,
        running_stack(Path(folder), extra_env={"LOG_LEVEL": "WARNING"}) as stack,
    ):
        figures: dict[str, Any] = uvloop.run(measure(stack, options))
    report = Report("latency", read_budgets("latency"))
    report.add(**figures)
    report.details["parameters"] = vars(options)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
