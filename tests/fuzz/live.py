"""Malformed handshakes, frames, messages and API requests against a gateway, with bystanders on the same process.

    python -m tests.fuzz.live [--cases 150000] [--seed N] [--only KIND] [--case NUMBER]     (make fuzz)

Each answer is judged by other implementations: `websockets` for framing and handshakes, h11 and plain HMAC for the API.
The bystanders' events, pings and connections are watched all the time. Behind it nothing may be left: no connection, no
session, no channel, no descriptor, no memory. A finding names its case, and `--case` repeats that one alone.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from tests.benchmarks.report import Report, percentile, read_budgets
from tests.support.gateway import GatewayNode, running_gateways
from tests.support.polling import eventually, scaled
from tests.support.redis_server import running_redis

from .attacks import ATTACKS, MAX_MESSAGE_BYTES
from .bystanders import CHANNELS, Bystanders
from .cases import Findings, run_case

BUDGETS: Final = Path(__file__).with_name("budgets.json")
AT_ONCE: Final = 24
BYSTANDERS: Final = 8
WARM_UP: Final = 0.1
"""Share of the cases after which the base of memory is read: allocators and caches have their size by then."""
SETTINGS: Final = {"MAX_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES), "HANDSHAKE_TIMEOUT_SECONDS": str(scaled(3))}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds when nobody but the bystanders is connected."""

    rss_bytes: float
    descriptors: float


async def fuzz(node: GatewayNode, numbers: range, findings: Findings) -> dict[str, float]:
    """Run the cases with bystanders beside them, look at what is left behind them; returns the figures."""
    warm_up = numbers[: round(len(numbers) * WARM_UP)]
    async with Bystanders(node, BYSTANDERS) as bystanders:
        seconds = await _attack(iter(warm_up), node, findings)
        base = await nothing_left(node)
        seconds += await _attack(iter(numbers[len(warm_up) :]), node, findings)
        end = await nothing_left(node)
        findings.wrong += await bystanders.verdict()
    seen = bystanders.seen
    complaints = log_complaints(node)
    findings.wrong += [f"the log says {line}" for line in complaints]
    return {
        "cases": findings.judged,
        "malformed_handshakes": findings.malformed["handshakes"],
        "malformed_frames": findings.malformed["frames"],
        "seconds": seconds,
        "cases_per_second": findings.judged / seconds,
        "bystander_events": len(seen.delays),
        "bystander_p99_ms": 1000 * percentile(seen.delays, 0.99),
        "bystander_worst_ms": 1000 * max(seen.delays),
        "pong_p99_ms": 1000 * percentile(seen.pongs, 0.99),
        "api_p99_ms": 1000 * percentile(seen.answers, 0.99),
        "rss_mb": base.rss_bytes / 2**20,
        "rss_growth_mb": (end.rss_bytes - base.rss_bytes) / 2**20,
        "descriptors_growth": end.descriptors - base.descriptors,
        "log_complaints": len(complaints),
        "findings": len(findings.wrong),
    }


async def _attack(numbers: Iterator[int], node: GatewayNode, findings: Findings) -> float:
    """`AT_ONCE` cases at a time until there are none left, or enough is wrong; returns the seconds it took."""

    async def attacker() -> None:
        for number in numbers:
            if findings.are_enough:
                return
            await run_case(number, node.port, findings)

    began = time.monotonic()
    async with asyncio.TaskGroup() as attackers:
        for _ in range(AT_ONCE):
            attackers.create_task(attacker())
    return time.monotonic() - began


async def nothing_left(node: GatewayNode) -> Footprint:
    """Wait until only the bystanders and their publisher are there. Raises: AssertionError when more stays."""
    wanted = {
        "connections": BYSTANDERS,
        "api_connections": 1,
        "channels": CHANNELS,
        "presence_channels": 1,
        "subscriptions": BYSTANDERS * CHANNELS,
        "signed_in_users": 0,
        "handshakes": 0,
        "xhr_sessions": 0,
    }
    wanted = {f"sharedjox_gateway_{name}": count for name, count in wanted.items()}

    async def is_gone() -> bool:
        assert await node.metrics(*wanted) == wanted
        return True

    await eventually(is_gone, 60, what="nothing is left of the attacks")
    found = await node.metrics("process_resident_memory_bytes", "process_open_fds")
    return Footprint(found["process_resident_memory_bytes"], found["process_open_fds"])


def log_complaints(node: GatewayNode) -> list[str]:
    """Lines of the log that tell of a failure inside the gateway."""
    signs = ('"level":"error"', '"level": "error"', "Traceback", '"level":"critical"', "Exception")
    return [line[:500] for line in node.service.log_text.splitlines() if any(sign in line for sign in signs)]


def main() -> int:
    """Run on a gateway and a Redis of its own; returns the exit status, 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=150_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", choices=list(ATTACKS))
    parser.add_argument("--case", type=int, help="repeat this one")
    options = parser.parse_args()
    findings = Findings(secrets.randbelow(10**9) if options.seed is None else options.seed, options.only)
    numbers = range(options.cases) if options.case is None else range(options.case, options.case + 1)
    only = f" --only {options.only}" if options.only else ""
    sys.stdout.write(f"replay: python -m tests.fuzz.live --cases {options.cases} --seed {findings.seed}{only}\n")
    sys.stdout.flush()
    with (
        tempfile.TemporaryDirectory() as name,
        running_redis(Path(name)) as redis,
        running_gateways(Path(name), redis.url, count=1, env=SETTINGS) as (node,),
    ):
        figures = uvloop.run(fuzz(node, numbers, findings))
    sys.stdout.write(f"{findings}\n")
    report = Report("fuzz", read_budgets("fuzz", BUDGETS))
    report.add(**figures)
    report.details = {"seed": findings.seed, "answers": dict(findings.answers), "wrong": findings.wrong}
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
