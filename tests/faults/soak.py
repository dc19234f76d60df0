"""An hour with churn: memory, descriptors, Redis and latency must stay as they are, and nobody may miss anything.

    python -m tests.faults.soak [--minutes 60] [--rate 3] [--residents 60] [--visitors 40] [--folder DIR]

Samples of every process go to `benchmark-results/soak.json`; judged is what the slope through them comes to, from the
end of the warm-up (a quarter) to the end. Histories, positions and grants are kept for minutes here, so that Redis
comes to its steady state within the warm-up; denials are kept for two days and are what it may still grow by.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import uvloop
from redis.asyncio import Redis

from tests.benchmarks.report import percentile
from tests.faults.committed import CommitLog
from tests.faults.program import FaultProgram
from tests.faults.recovering_client import living
from tests.faults.soak_load import DISCOVERY, SoakLoad
from tests.faults.steadiness import Samples, descriptors, process_figures
from tests.support.polling import eventually, scaled
from tests.support.processes import ServiceProcess
from tests.support.stack import Stack, running_stack

SAMPLES_PER_RUN = 360
SHORT_MEMORY = {
    "HISTORY_AGE_SECONDS": "120",
    "HISTORY_META_SECONDS": "240",
    "GRANT_LIFETIME_SECONDS": "240",
    "OUTBOX_KEEP_HOURS": "0.1",
    "ACCESS_TOKEN_SECONDS": "900",
    "LOG_LEVEL": "WARNING",
    "DRAIN_SECONDS": "1",
}
_REDIS_FIGURES = {
    "used_memory": "redis_used_bytes",
    "used_memory_rss": "redis_rss_bytes",
    "connected_clients": "redis_clients",
    "total_commands_processed": "redis_commands",
}
_GAUGE = re.compile(r"^sharedjox_gateway_(\w+) (\S+)$", re.MULTILINE)
_GATEWAY_GAUGES = ("connections", "channels", "subscriptions", "buffer_bytes")


async def redis_figures(redis: Redis) -> dict[str, float]:
    """Memory, keys, clients and commands so far."""
    found = await redis.info()
    return {ours: float(found[theirs]) for theirs, ours in _REDIS_FIGURES.items()} | {
        "redis_keys": await redis.dbsize()
    }


class Soak:
    """One run over one stack."""

    def __init__(self, stack: Stack, load: SoakLoad, *, seconds: float) -> None:
        self.samples = Samples()
        self._stack = stack
        self._load = load
        self._seconds = seconds
        self._latencies: list[float] = []
        self._http = httpx.AsyncClient()
        self._committed = CommitLog(stack.env["DATABASE_URL"])

    async def run(self) -> dict[str, float]:
        """Start everything, sample until the time is over, check; returns the figures."""
        load = self._load
        await load.log_in()
        try:
            async with living(load.residents), Redis.from_url(self._stack.redis.url) as redis:
                await eventually(lambda: all(one.is_ready for one in load.residents), 30, what="all are subscribed")
                going_on = [asyncio.ensure_future(task()) for task in load.tasks()]
                try:
                    await self._sample_until_over(redis, going_on)
                finally:
                    await _stop(going_on)
                return await self._outcome()
        finally:
            await load.close()
            await self._http.aclose()

    async def _sample_until_over(self, redis: Redis, going_on: Sequence[asyncio.Future[None]]) -> None:
        began = time.monotonic()
        every = max(1.0, self._seconds / SAMPLES_PER_RUN)
        while time.monotonic() - began < self._seconds:
            done, _pending = await asyncio.wait(going_on, timeout=every, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()  # a part of the load that ended has failed
            self.samples.add(time.monotonic() - began, await self._sample(redis))

    async def _sample(self, redis: Redis) -> dict[str, float]:
        await self._committed.follow(DISCOVERY)
        figures = {"load_average": os.getloadavg()[0]}
        for name, service in self._stack.services.items():
            figures |= process_figures(name, service.pid)
        for gateway in self._stack.gateways:
            figures |= await self._gateway_figures(gateway)
        figures |= process_figures("redis_process", self._stack.redis.process.pid)
        figures |= process_figures("harness", os.getpid())
        figures |= await redis_figures(redis)
        latencies = self._load.figures.take_latencies()
        self._latencies += latencies
        if latencies:
            figures["latency_p50_ms"] = 1000 * percentile(latencies, 0.5)
            figures["latency_max_ms"] = 1000 * max(latencies)
        return figures

    async def _gateway_figures(self, gateway: ServiceProcess) -> dict[str, float]:
        """Its gauges, and the descriptors that no connection accounts for."""
        text = (await self._http.get(f"http://127.0.0.1:{gateway.ready_port}/metrics")).text
        gauges = {name: float(value) for name, value in _GAUGE.findall(text)}
        figures = {f"{gateway.name}_{name}": gauges[name] for name in _GATEWAY_GAUGES if name in gauges}
        return figures | {f"{gateway.name}_other_descriptors": descriptors(gateway.pid) - gauges["connections"]}

    async def _outcome(self) -> dict[str, float]:
        residents = self._load.residents
        await self._committed.follow(DISCOVERY)
        expected = self._committed.ids[DISCOVERY]

        def arrived() -> bool:
            return all(len(one.seen[DISCOVERY].known) >= len(expected) or one.told_lost for one in residents)

        with contextlib.suppress(AssertionError):  # what is missing is counted below
            await eventually(arrived, 30)
        await asyncio.sleep(scaled(0.5))  # a repeat would come right behind
        seen = [one.seen[DISCOVERY] for one in residents]
        known = set(expected)
        return {
            "events": len(expected),
            "deliveries": sum(len(one.ids) for one in seen),
            "lost": sum(len(known - one.known) for one in seen),
            "repeated": sum(one.repeats for one in seen),
            "out_of_order": sum(one.ids != [event for event in expected if event in one.known] for one in seen),
            "told_lost": sum(one.told_lost for one in seen),
            "problems": len(self._load.figures.problems) + sum(len(one.foreign) for one in residents),
            **{name: float(count) for name, count in self._load.figures.counts.items()},
            **self._growth(),
        }

    def _growth(self) -> dict[str, float]:
        course = self.samples.course
        figures: dict[str, float] = {}
        for name in self._stack.services:
            figures[f"{name}_rss_mb"] = course(f"{name}_rss_kb").first / 1024
            figures[f"{name}_rss_growth_percent"] = course(f"{name}_rss_kb").percent
            descriptors_figure = "other_descriptors" if name.startswith("gateway") else "descriptors"
            figures[f"{name}_descriptors_growth"] = course(f"{name}_{descriptors_figure}").growth
        figures["redis_used_mb"] = course("redis_used_bytes").first / 1e6
        figures["redis_used_growth_mb"] = course("redis_used_bytes").growth / 1e6
        figures["redis_keys_growth"] = course("redis_keys").growth
        figures["latency_p50_growth_percent"] = course("latency_p50_ms").percent
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            figures[f"latency_{name}_ms"] = 1000 * percentile(self._latencies, share) if self._latencies else 0.0
        return figures


async def _stop(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_soak(folder: Path, options: argparse.Namespace) -> tuple[dict[str, float], Samples, list[str]]:
    """One run on servers and services of its own: figures, samples, problems."""
    with running_stack(folder, extra_env=SHORT_MEMORY) as stack:
        load = SoakLoad(
            stack, rate=options.rate, residents=options.residents, visitors=options.visitors, seed=options.seed
        )
        soak = Soak(stack, load, seconds=60 * options.minutes)
        return await soak.run(), soak.samples, load.figures.problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    program = FaultProgram("soak", __doc__)
    program.parser.add_argument("--minutes", type=float, default=60)
    program.parser.add_argument("--rate", type=float, default=3, help="jobs posted per second")
    program.parser.add_argument("--residents", type=int, default=60, help="clients that stay and must see everything")
    program.parser.add_argument("--visitors", type=int, default=40, help="clients at any time that come and go")
    program.parser.add_argument("--folder", type=Path, help="where data and logs go (kept); default: a new one")
    options = program.begin(arguments)
    with contextlib.ExitStack() as cleanup:
        folder = options.folder or cleanup.enter_context(program.folder())
        folder.mkdir(parents=True, exist_ok=True)
        figures, samples, problems = uvloop.run(run_soak(folder, options))
    return program.finish(figures, problems, parameters={**vars(options), "folder": str(folder)}, samples=samples.rows)


if __name__ == "__main__":
    sys.exit(main())
