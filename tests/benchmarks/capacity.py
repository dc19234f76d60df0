"""How many connections one machine holds, over several gateway processes, with every message in order on each.

    python -m tests.benchmarks.capacity [--connections 200000] [--seconds 20]

Each connection has a signed subscription to one private channel. Memory is split into what the gateways use and what
the kernel uses for both ends of each connection; the load client is not counted. A million connections need some 20 GB
of memory and ten minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import machine, servers
from .load_client.client import CONNECTIONS_PER_WORKER, LoadClient
from .report import Report, read_budgets
from .scenarios import Flood, Rate, Results, Scenario, tell

SETTLE_SECONDS = 3.0
CHANNEL = "private-bench"
STEADY_PER_SECOND = 40_000
"""Deliveries: somewhat less than one core manages with this many connections."""


def used_bytes(pids: Sequence[int]) -> tuple[int, int]:
    """User memory of the processes, and what the kernel holds for sockets."""
    time.sleep(SETTLE_SECONDS)
    return sum(machine.rss_kb(pid) for pid in pids) * 1024, machine.kernel_socket_kb() * 1024


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=200_000)
    parser.add_argument("--per-process", type=int, default=CONNECTIONS_PER_WORKER)
    parser.add_argument("--seconds", type=float, default=20.0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    machine.take_priority()
    wanted, processes = options.connections, -(-options.connections // options.per_process)
    interval = wanted / STEADY_PER_SECOND
    seconds = max(options.seconds, 3 * interval)
    scenarios: list[Scenario] = [Flood("1 in flight", 1, seconds), Rate("steady", 1 / interval, seconds)]
    report = Report("capacity", read_budgets("capacity"))
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name:
        folder = Path(name)
        with (
            servers.redis_server(folder) as redis,
            servers.gateway(folder, redis, channel=CHANNEL, processes=processes) as server,
        ):
            user, kernel = used_bytes(server.pids)
            with LoadClient(server.options, server.pids, connections=wanted) as client:
                connected = client.connect()
                user_full, kernel_full = used_bytes(server.pids)
                results: Results = {}
                for scenario in scenarios:
                    results[scenario.name] = scenario.run(client)
                    tell(server.name, wanted, scenario.name, results[scenario.name])
                user_after, _ = used_bytes(server.pids)
    report.add(
        connections=connected["connections"],
        processes=processes,
        connect_seconds=connected["seconds"],
        user_bytes=(user_full - user) / wanted,
        user_bytes_after_events=(user_after - user) / wanted,
        kernel_bytes_per_pair=(kernel_full - kernel) / wanted,
        total_gb=(user_after + kernel_full - kernel) / 1e9,
        deliveries_per_second=results["1 in flight"]["deliveries_per_second"],
        p99_ms=results["steady"]["latency"]["p99_ms"],
        failed_runs=sum(not result["ok"] for result in results.values()),
    )
    report.details["parameters"] = vars(options)
    report.details["runs"] = results
    return report.finish()


if __name__ == "__main__":
    machine.isolate("tests.benchmarks.capacity", sys.argv[1:])
    sys.exit(main())
