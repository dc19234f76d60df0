"""Memory of the gateway: for an idle connection with one signed private subscription, over rounds of coming and going,
and how long the garbage collector stops it.

    python -m tests.benchmarks.memory [--connections 10000] [--rounds 10]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sharedjox_devstack.redis import EmbeddedRedis

from . import machine, servers
from .load_client.client import LoadClient
from .report import Report, read_budgets

SETTLE_SECONDS = 1.5
BIG = 19_000


def settled_rss(pid: int) -> int:
    """Bytes, once everything that was asked for is done."""
    time.sleep(SETTLE_SECONDS)
    return machine.rss_kb(pid) * 1024


def measure_idle(kind: str, folder: Path, redis: EmbeddedRedis, connections: int) -> dict[str, float]:
    """User memory on top of the empty process, and the kernel's share (both ends, all of the machine)."""
    channel = "private-user.%d" if kind == "own" else "private-bench"
    channels = connections if kind == "own" else 1
    with servers.gateway(folder, redis, channel=channel) as server:
        before, kernel = settled_rss(server.pids[0]), machine.kernel_socket_kb()
        options = [*server.options, "--channels", str(channels)]
        with LoadClient(options, server.pids, connections=connections) as client:
            client.connect()
            after = settled_rss(server.pids[0])
            kernel_pair = (machine.kernel_socket_kb() - kernel) * 1024 / connections
    sys.stdout.write(f"  {kind:<8} {(after - before) / connections:,.0f} B each\n")
    return {f"{kind}_bytes": (after - before) / connections, f"{kind}_kernel_bytes_per_pair": kernel_pair}


def measure_rounds(folder: Path, redis: EmbeddedRedis, connections: int, rounds: int) -> dict[str, float]:
    """Everybody comes and leaves, again and again."""
    sizes = []
    with servers.gateway(folder, redis, channel="private-user.%d") as server:
        options = [*server.options, "--channels", str(connections)]
        with LoadClient(options, server.pids, connections=connections) as client:
            for number in range(rounds):
                client.connect()
                sizes.append(settled_rss(server.pids[0]))
                client.disconnect()
                time.sleep(SETTLE_SECONDS)
                sys.stdout.write(f"  round {number + 1}: {sizes[-1] / 1e6:.1f} MB\n")
    # The first rounds fill the allocator's pools.
    return {"growth_after_rounds": sizes[-1] / sizes[min(2, len(sizes) - 1)]}


def read_pauses(pid: int, file: Path) -> dict[str, float]:
    """What the collector did since the last time."""
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    servers.wait_for(file.exists, "the collector's figures")
    pauses: dict[str, float] = json.loads(file.read_text("utf-8"))
    return pauses


def measure_pauses(folder: Path, redis: EmbeddedRedis, connections: int) -> dict[str, float]:
    """The worst pause while `connections` come, leave, come again and get events."""
    file = folder / "pauses.json"
    with servers.gateway(
        folder,
        redis,
        channel="private-user.%d",
        extra_env={"PAUSES_FILE": str(file)},
        module="tests.benchmarks.watched_gateway",
    ) as server:
        options = [*server.options, "--channels", str(connections)]
        with LoadClient(options, server.pids, connections=connections) as client:
            read_pauses(server.pids[0], file)
            for number in range(2):
                client.connect()
                client.flood(64, 2)
                if number == 0:
                    client.disconnect()
            pauses = read_pauses(server.pids[0], file)
    return {
        "worst_pause_ms": pauses["worst_ms"],
        "collections": pauses["count"],
        "tracked_per_connection": pauses["objects"] / connections,
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--big", type=int, default=BIG, help="connections while the collector is watched")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    machine.take_priority()
    report = Report("memory", read_budgets("memory"))
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name:
        folder = Path(name)
        with servers.redis_server(folder) as redis:
            for kind in ("shared", "own"):
                report.add(**measure_idle(kind, folder, redis, options.connections))
            report.add(**measure_pauses(folder, redis, options.big))
            report.add(**measure_rounds(folder, redis, options.connections, options.rounds))
    report.details["parameters"] = vars(options)
    return report.finish()


if __name__ == "__main__":
    machine.isolate("tests.benchmarks.memory", sys.argv[1:])
    sys.exit(main())
