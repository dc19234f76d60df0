"""How fast clients get in: TCP, upgrade, signed subscribe, acknowledged; the gateway on one core.

    python -m tests.benchmarks.connect [--repeat 5] [--connections 10000]

`shared`: all on one private channel. `own`: each on a private channel of its own, which takes Redis a subscription and
a position each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sharedjox_devstack.redis import EmbeddedRedis

from . import machine, servers
from .load_client.client import LoadClient
from .load_client.results import Result
from .report import Report, read_budgets
from .scenarios import median


def measure(kind: str, folder: Path, redis: EmbeddedRedis, connections: int) -> Result:
    """One connect of all on a fresh gateway that has seen some connections before."""
    channel = "private-user.%d" if kind == "own" else "private-bench"
    channels = connections if kind == "own" else 1
    with (
        servers.gateway(folder, redis, channel=channel) as server,
        LoadClient([*server.options, "--channels", str(channels)], server.pids, connections=connections) as client,
    ):
        client.connect(200)
        client.disconnect()
        result = client.connect()
    sys.stdout.write(
        f"  {kind:<8} {result['per_second']:>10,.0f}/s  server {result['server_cpu_us_per_connection']:.0f} us each"
        f"  foreign {result['foreign_cores']:.2f}\n"
    )
    return result


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--connections", type=int, default=10_000)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    machine.take_priority()
    results: dict[str, list[Result]] = {"shared": [], "own": []}
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name:
        folder = Path(name)
        with servers.redis_server(folder) as redis:
            for _ in range(options.repeat):
                for kind, found in results.items():
                    found.append(measure(kind, folder, redis, options.connections))
    report = Report("connect", read_budgets("connect"))
    for kind, found in results.items():
        microseconds = median(result["server_cpu_us_per_connection"] for result in found)
        report.add(
            **{
                f"{kind}_per_second": median(result["per_second"] for result in found),
                f"{kind}_cpu_us": microseconds,
                f"{kind}_per_core_second": 1e6 / max(microseconds, 1),
            }
        )
    report.details["parameters"] = vars(options)
    report.details["runs"] = results
    return report.finish()


if __name__ == "__main__":
    machine.isolate("tests.benchmarks.connect", sys.argv[1:])
    sys.exit(main())
