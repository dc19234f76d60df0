"""Many small channels: each connection on a private channel of its own, single events to random ones.

    python -m tests.benchmarks.channels [--repeat 5] [--connections 10000]

The cost of a delivery, from Redis to the socket, with 10,000 channels is compared with that of 100. Durable events are
bounded by Redis (20 to 40 us each for the history); the rate of the gateway itself shows with events without history.

What makes it dearer is told apart by two yardsticks. With all 10,000 connections there and events for 100 of them only
("held"), what grows is the gateway's own doing: its tables are as large, the sockets in use as few as with 100. And the
plain C server gets the same load: what the kernel and the caches take for each socket that was not in use lately, they
take from anybody.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sharedjox_devstack.redis import EmbeddedRedis

from . import machine, servers
from .load_client.client import LoadClient
from .load_client.results import Result
from .near_cores import NearCores
from .report import Report, read_budgets
from .scenarios import Flood, Results, median, per_core, run_scenarios, tell

CHANNEL = "private-user.%d"
FEW = 100
COST_WINDOW, RATE_WINDOW = 16, 256


class Spread(NamedTuple):
    """Over how many sockets the events go: `connections` on a channel each, `active` of which get events (0: all)."""

    connections: int
    active: int = 0


class Spreads(NamedTuple):
    """What is compared, each with one result per round."""

    few: list[Results]
    held: list[Results]
    many: list[Results]


def measure(
    folder: Path, redis: EmbeddedRedis, spread: Spread, seconds: float, cores: NearCores, *, durable: bool
) -> Results:
    """Two floods on a fresh gateway.

    With a window as wide as 256, a hundred channels would get several events per loop turn each, which are joined:
    costs are compared with few in flight, where that is rare.
    """
    with servers.gateway(folder, redis, channel=CHANNEL, durable=durable) as server:
        server.name = "durable" if durable else "transient"
        scenarios = [Flood("cost", COST_WINDOW, seconds)]
        if not spread.active:
            scenarios.append(Flood("rate", RATE_WINDOW, seconds))
        return run(server, spread, scenarios, cores)


def measure_yardstick(folder: Path, spread: Spread, seconds: float, cores: NearCores) -> Results:
    """The cost of the plain C server, which knows no history."""
    with servers.baseline(folder, channel=CHANNEL) as server:
        return run(server, spread, [Flood("cost", COST_WINDOW, seconds)], cores)


def run(server: servers.Server, spread: Spread, scenarios: Sequence[Flood], cores: NearCores) -> Results:
    """The floods, each connection on a channel of its own."""
    if spread.active:
        server.name += " held"
    return run_scenarios(
        server, spread.connections, scenarios, channels=spread.connections, active=spread.active, cores=cores
    )


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


def ratio(cost: Callable[[Results], float], mine: Sequence[Results], its: Sequence[Results]) -> float:
    """Of two costs within a round."""
    return median(cost(one) / cost(other) for one, other in zip(mine, its, strict=True))


def cost_figures(kind: str, spreads: Spreads) -> dict[str, float]:
    """Server time for a delivery with many channels, with few of them in use, with few; and the ratios to the last."""
    figures: dict[str, float] = {}
    for name, cost in (("cost", cost_us), ("code", code_us)):
        figures[f"{kind}_{name}_us"] = median(map(cost, spreads.many))
        figures[f"{kind}_{name}_us_held"] = median(map(cost, spreads.held))
        figures[f"{kind}_{name}_us_100"] = median(map(cost, spreads.few))
        figures[f"{kind}_{name}_ratio"] = ratio(cost, spreads.many, spreads.few)
        figures[f"{kind}_{name}_held_ratio"] = ratio(cost, spreads.held, spreads.few)
    return figures


def growth_to(yardstick: Spreads, mine: Spreads) -> float:
    """What a delivery costs more with many channels than with few, to what it costs the yardstick more."""

    def growth(many: Results, few: Results) -> float:
        return cost_us(many) - cost_us(few)

    return median(
        growth(my_many, my_few) / max(growth(its_many, its_few), 0.01)
        for my_many, my_few, its_many, its_few in zip(mine.many, mine.few, yardstick.many, yardstick.few, strict=True)
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
    spreads = Spread(FEW), Spread(options.connections, FEW), Spread(options.connections)
    found = {kind: Spreads([], [], []) for kind in ("durable", "transient", "c")}
    cores = NearCores.of_run(options.repeat, options.seconds)
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name:
        folder = Path(name)
        with servers.redis_server(folder) as redis:
            for _ in range(options.repeat):
                for kind, results in found.items():
                    for spread, into in zip(spreads, results, strict=True):
                        into.append(
                            measure_yardstick(folder, spread, options.seconds, cores)
                            if kind == "c"
                            else measure(folder, redis, spread, options.seconds, cores, durable=kind == "durable")
                        )
            churn = measure_churn(folder, redis, 1000, options.seconds)
    report = Report("channels", read_budgets("channels"))
    for kind in ("durable", "transient"):
        report.add(
            **{
                f"{kind}_per_second": median(results["rate"]["deliveries_per_second"] for results in found[kind].many),
                f"{kind}_per_core_second": median(per_core(results["rate"]) for results in found[kind].many),
                **cost_figures(kind, found[kind]),
                f"{kind}_growth_to_c": growth_to(found["c"], found[kind]),
                f"{kind}_p99_ms": median(results["cost"]["latency"]["p99_ms"] for results in found[kind].many),
            }
        )
    report.add(
        **cost_figures("c", found["c"]),
        **cores.figures(),
        churn_per_second=churn["churned"] / churn["seconds"],
        failed_runs=sum(
            not result[scenario]["ok"]
            for kind in found
            for results in found[kind]
            for result in results
            for scenario in result.keys() & {"cost", "rate"}
        ),
    )
    report.details["parameters"] = vars(options)
    report.details["runs"] = {kind: results._asdict() for kind, results in found.items()}
    return report.finish()


if __name__ == "__main__":
    machine.isolate("tests.benchmarks.channels", sys.argv[1:])
    sys.exit(main())
