"""Many small channels: each connection on a private channel of its own, single durable events to random ones.

    python -m tests.benchmarks.channels [--repeat 5] [--connections 10000]

The cost of a delivery, from Redis to the socket, with 10,000 channels is compared with that of 100.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sharedjox_devstack.redis import EmbeddedRedis

from . import machine, servers
from .load_client.client import LoadClient, Result
from .report import Report, read_budgets
from .scenarios import Flood, median, per_core, run_scenarios, tell

CHANNEL = "private-user.%d"
FEW = 100


def measure(folder: Path, redis: EmbeddedRedis, connections: int, seconds: float) -> Result:
    """One flood on a fresh gateway."""
    with servers.gateway(folder, redis, channel=CHANNEL) as server:
        scenarios = [Flood("single", 256, seconds)]
        return run_scenarios(server, connections, scenarios, channels=connections)["single"]


def measure_churn(folder: Path, redis: EmbeddedRedis, connections: int, seconds: float) -> Result:
    """Leaving and joining again, each its own channel."""
    with (
        servers.gateway(folder, redis, channel=CHANNEL) as server,
        LoadClient([*server.options, "--channels", str(connections)], server.pids, connections=connections) as client,
    ):
        client.connect()
        result = client.churn(seconds)
        tell("gateway", connections, "churn", result)
    return result


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=10_000)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    machine.take_priority()
    results: dict[int, list[Result]] = {FEW: [], options.connections: []}
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name:
        folder = Path(name)
        with servers.redis_server(folder) as redis:
            for _ in range(options.repeat):
                for connections, found in results.items():
                    found.append(measure(folder, redis, connections, options.seconds))
            churn = measure_churn(folder, redis, 1000, options.seconds)
    many, few = results[options.connections], results[FEW]
    report = Report("channels", read_budgets("channels"))
    report.add(
        per_second=median(result["deliveries_per_second"] for result in many),
        per_core_second=median(per_core(result) for result in many),
        per_core_second_100=median(per_core(result) for result in few),
        cost_ratio_to_100=median(per_core(its) / per_core(mine) for mine, its in zip(many, few, strict=True)),
        p99_ms=median(result["latency"]["p99_ms"] for result in many),
        churn_per_second=churn["churned"] / churn["seconds"],
        failed_runs=sum(not result["ok"] for found in results.values() for result in found),
    )
    report.details["parameters"] = vars(options)
    report.details["runs"] = results
    return report.finish()


if __name__ == "__main__":
    machine.isolate("tests.benchmarks.channels", sys.argv[1:])
    sys.exit(main())
