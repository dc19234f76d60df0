"""Many small channels: each connection on a private channel of its own, single events to random ones.

    python -m tests.benchmarks.channels [--repeat 5] [--connections 10000]

The cost of a delivery, from Redis to the socket, with 10,000 channels is compared with that of 100. Durable events are
bounded by Redis (20 to 40 us each for the history); the rate of the gateway itself shows with events without history.
The plain C server's cost is measured beside it: what the kernel and the caches take for more connections, they take
from anybody.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from sharedjox_devstack.redis import EmbeddedRedis

from . import machine, servers
from .load_client.client import LoadClient, Result
from .report import Report, read_budgets
from .scenarios import Flood, Results, median, per_core, run_scenarios, tell

CHANNEL = "private-user.%d"
FEW = 100
COST_WINDOW, RATE_WINDOW = 16, 256


def measure(folder: Path, redis: EmbeddedRedis, connections: int, seconds: float, *, durable: bool) -> Results:
    """Two floods on a fresh gateway.

    With a window as wide as 256, a hundred channels would get several events per loop turn each, which are joined:
    costs are compared with few in flight, where that is rare.
    """
    with servers.gateway(folder, redis, channel=CHANNEL, durable=durable) as server:
        server.name = "durable" if durable else "transient"
        scenarios = [Flood("cost", COST_WINDOW, seconds), Flood("rate", RATE_WINDOW, seconds)]
        return run_scenarios(server, connections, scenarios, channels=connections)


def measure_yardstick(folder: Path, connections: int, seconds: float) -> Results:
    """The cost of the plain C server, which knows no history."""
    with servers.baseline(folder, channel=CHANNEL) as server:
        return run_scenarios(server, connections, [Flood("cost", COST_WINDOW, seconds)], channels=connections)


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


def cost_us(results: Results) -> float:
    """Server time for a delivery."""
    return 1e6 / per_core(results["cost"])


def code_us(results: Results) -> float:
    """The part of it in the server's own code, not in the kernel's."""
    return 1e6 * float(results["cost"]["server_user_cores"]) / float(results["cost"]["deliveries_per_second"])


def cost_figures(kind: str, many: Sequence[Results], few: Sequence[Results]) -> dict[str, float]:
    """Server time for a delivery with many channels and with few, and their ratio within a round."""
    figures: dict[str, float] = {}
    for name, cost in (("cost", cost_us), ("code", code_us)):
        figures[f"{kind}_{name}_us"] = median(map(cost, many))
        figures[f"{kind}_{name}_us_100"] = median(map(cost, few))
        figures[f"{kind}_{name}_ratio"] = median(cost(mine) / cost(its) for mine, its in zip(many, few, strict=True))
    return figures


def growth_to(yardstick: Mapping[int, Sequence[Results]], many: Sequence[Results], few: Sequence[Results]) -> float:
    """What a delivery costs more with many channels than with few, to what it costs the yardstick more."""
    most, least = max(yardstick), min(yardstick)
    return median(
        (cost_us(mine_many) - cost_us(mine_few)) / max(cost_us(its_many) - cost_us(its_few), 0.01)
        for mine_many, mine_few, its_many, its_few in zip(many, few, yardstick[most], yardstick[least], strict=True)
    )


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
    sizes = (FEW, options.connections)
    rounds: dict[tuple[int, bool], list[Results]] = {
        (connections, durable): [] for durable in (True, False) for connections in sizes
    }
    yardstick: dict[int, list[Results]] = {connections: [] for connections in sizes}
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name:
        folder = Path(name)
        with servers.redis_server(folder) as redis:
            for _ in range(options.repeat):
                for (connections, durable), found in rounds.items():
                    found.append(measure(folder, redis, connections, options.seconds, durable=durable))
                for connections, found in yardstick.items():
                    found.append(measure_yardstick(folder, connections, options.seconds))
            churn = measure_churn(folder, redis, 1000, options.seconds)
    report = Report("channels", read_budgets("channels"))
    for durable in (True, False):
        kind = "durable" if durable else "transient"
        many, few = rounds[options.connections, durable], rounds[FEW, durable]
        report.add(
            **{
                f"{kind}_per_second": median(results["rate"]["deliveries_per_second"] for results in many),
                f"{kind}_per_core_second": median(per_core(results["rate"]) for results in many),
                **cost_figures(kind, many, few),
                f"{kind}_growth_to_c": growth_to(yardstick, many, few),
                f"{kind}_p99_ms": median(results["cost"]["latency"]["p99_ms"] for results in many),
            }
        )
    report.add(
        **cost_figures("c", yardstick[options.connections], yardstick[FEW]),
        churn_per_second=churn["churned"] / churn["seconds"],
        failed_runs=sum(
            not results[name]["ok"] for found in rounds.values() for results in found for name in ("cost", "rate")
        ),
    )
    report.details["parameters"] = vars(options)
    report.details["runs"] = {
        **{f"{connections} {durable}": each for (connections, durable), each in rounds.items()},
        **{f"{connections} c": each for connections, each in yardstick.items()},
    }
    return report.finish()


if __name__ == "__main__":
    machine.isolate("tests.benchmarks.channels", sys.argv[1:])
    sys.exit(main())
