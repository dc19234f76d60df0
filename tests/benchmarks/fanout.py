"""Fan-out of the real gateway beside a plain C epoll loop, interleaved, every message checked on every connection.

    python -m tests.benchmarks.fanout [--repeat 5] [--seconds 3] [--connections 10000]

The gateway runs by its entry point with authentication (a private channel), envelopes and metrics, on one core; events
are published to Redis by the publish script, as the relay does. Load client and Redis are on the other core.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from sharedjox_devstack.redis import EmbeddedRedis

from . import machine, servers
from .near_cores import NearCores
from .report import Report, read_budgets
from .scenarios import Flood, Idle, Rate, Results, Scenario, StartServer, median, per_core, run_side_by_side
from .servers import Server

PRIVATE, PUBLIC = "private-bench", "bench"
LARGE_BYTES = 2000


def few(seconds: float) -> list[Scenario]:
    """On 1,000 connections."""
    return [
        Flood("w1", 1, seconds),
        Flood("w8", 8, seconds),
        Flood("w64", 64, seconds),
        Rate("rate40", 40, seconds + 1, is_undisturbed=True),
        Rate("rate2000", 2000, seconds + 1),
    ]


def many(seconds: float) -> list[Scenario]:
    """On 10,000 connections: one event in flight, then pings of another connection, alone and beside half load."""
    return [Flood("w1", 1, seconds), Idle("idle", seconds), Rate("rate5", 5, seconds + 1, probe_ms=7)]


def slow_readers(seconds: float) -> list[Scenario]:
    """10 of 1,000 stop reading."""
    return [Rate("slow", 800, seconds, stalled=10)]


def start(kind: str, redis: EmbeddedRedis, folder: Path, payload_bytes: int) -> AbstractContextManager[Server]:
    """A fresh server."""
    if kind == "c":
        return servers.baseline(folder, channel=PUBLIC, payload_bytes=payload_bytes)
    env = {"GATEWAY_NATIVE": "false"} if kind == "python" else {}
    return servers.gateway(folder, redis, channel=PRIVATE, payload_bytes=payload_bytes, extra_env=env)


def run_round(
    kinds: Sequence[str],
    redis: Mapping[str, EmbeddedRedis],
    folder: Path,
    options: argparse.Namespace,
    cores: NearCores,
) -> dict[str, dict[str, Results]]:
    """All scenarios on all kinds of servers, in turn in this order: results by kind and by place."""

    def starts(payload_bytes: int) -> dict[str, StartServer]:
        return {kind: partial(start, kind, redis[kind], folder, payload_bytes) for kind in kinds}

    found = {
        "1k": run_side_by_side(starts(servers.PAYLOAD_BYTES), options.few, few(options.seconds), cores=cores),
        "10k": run_side_by_side(starts(servers.PAYLOAD_BYTES), options.connections, many(options.seconds), cores=cores),
        "2kB": run_side_by_side(starts(LARGE_BYTES), options.few, slow_readers(options.seconds), cores=cores),
    }
    return {kind: {where: results[kind] for where, results in found.items()} for kind in kinds}


Rounds = dict[str, list[dict[str, Results]]]


def figures(rounds: Rounds) -> dict[str, float]:
    """Medians, and medians of the ratios within a round."""
    found: dict[str, float] = {}
    for where, scenario in (("1k", "w1"), ("1k", "w8"), ("1k", "w64"), ("10k", "w1")):
        name = f"{where}_{scenario}"
        ours = [results[where][scenario] for results in rounds["gateway"]]
        found[f"{name}_per_second"] = median(result["deliveries_per_second"] for result in ours)
        for other in ("c", "python"):
            if other in rounds:
                theirs = [results[where][scenario] for results in rounds[other]]
                pairs = list(zip(ours, theirs, strict=True))
                found[f"{name}_to_{other}"] = median(
                    mine["deliveries_per_second"] / max(its["deliveries_per_second"], 1) for mine, its in pairs
                )
                found[f"{name}_to_{other}_per_core"] = median(per_core(mine) / per_core(its) for mine, its in pairs)
    for where, scenario in (("1k", "rate40"), ("1k", "rate2000"), ("10k", "rate5"), ("2kB", "slow")):
        for kind, each in rounds.items():
            latencies = [results[where][scenario]["latency"]["p99_ms"] for results in each]
            found[f"{kind}_{scenario}_p99_ms"] = median(latencies)
    found["rate2000_p99_to_c"] = median(
        mine["1k"]["rate2000"]["latency"]["p99_ms"] / max(its["1k"]["rate2000"]["latency"]["p99_ms"], 0.001)
        for mine, its in zip(rounds["gateway"], rounds["c"], strict=True)
    )
    for kind, each in rounds.items():
        found[f"{kind}_other_traffic_p99_ms"] = median(results["10k"]["rate5"]["probe"]["p99_ms"] for results in each)
        found[f"{kind}_idle_traffic_p99_ms"] = median(results["10k"]["idle"]["probe"]["p99_ms"] for results in each)
    found["failed_runs"] = sum(
        not result["ok"]
        for each in rounds.values()
        for results in each
        for where in results.values()
        for name, result in where.items()
        if name != "connect"
    )
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=10_000, help="of the big runs")
    parser.add_argument("--few", type=int, default=1000, help="connections of the other runs")
    parser.add_argument("--python", action="store_true", help="also without the code in C")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    machine.take_priority()
    kinds = ["gateway", "c", *(["python"] if options.python else [])]
    rounds: Rounds = {kind: [] for kind in kinds}
    cores = NearCores.of_run(options.repeat, options.seconds)
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name, contextlib.ExitStack() as stack:
        # One for each, or a gateway would hear what is published for the other.
        redis = {kind: stack.enter_context(servers.redis_server(Path(name) / kind)) for kind in kinds}
        for number in range(options.repeat):
            order = kinds[number % len(kinds) :] + kinds[: number % len(kinds)]
            for kind, results in run_round(order, redis, Path(name), options, cores).items():
                rounds[kind].append(results)
    report = Report("fanout", read_budgets("fanout"))
    report.add(**figures(rounds), **cores.figures())
    report.details["parameters"] = vars(options)
    report.details["rounds"] = rounds
    return report.finish()


if __name__ == "__main__":
    machine.isolate("tests.benchmarks.fanout", sys.argv[1:])
    sys.exit(main())
