"""Load on one server: scenarios in order on the same connections, every message checked."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .load_client.client import LoadClient, Result
from .servers import Server

SETTLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Flood:
    """`window` messages always in flight."""

    name: str
    window: int
    seconds: float = 3.0
    probe_ms: int = 0

    def run(self, client: LoadClient) -> Result:
        """Run it."""
        return client.flood(self.window, self.seconds, probe_ms=self.probe_ms)


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages at fixed times; `stalled` connections stop reading before."""

    name: str
    per_second: float
    seconds: float = 4.0
    probe_ms: int = 0
    stalled: int = 0

    def run(self, client: LoadClient) -> Result:
        """Run it."""
        if self.stalled:
            client.stall(self.stalled)
        return client.rate(self.per_second, self.seconds, probe_ms=self.probe_ms)


Scenario = Flood | Rate
Results = dict[str, Result]


def run_scenarios(
    server: Server,
    connections: int,
    scenarios: Sequence[Scenario],
    *,
    channels: int = 1,
    when_idle: Callable[[], None] = lambda: None,
) -> Results:
    """Connect, run, disconnect. The result of connecting is under "connect"; `when_idle` is called once all are in."""
    options = [*server.options, "--channels", str(channels)]
    results: Results = {}
    with LoadClient(options, server.pids, connections=connections) as client:
        results["connect"] = client.connect()
        time.sleep(SETTLE_SECONDS)
        when_idle()
        for scenario in scenarios:
            result = results[scenario.name] = scenario.run(client)
            tell(server.name, connections, scenario.name, result)
    return results


def tell(server: str, connections: int, scenario: str, result: Result) -> None:
    """A line while one waits."""
    faults = {name: result[name] for name in ("missing", "doubled", "swapped", "closed", "refused") if result[name]}
    if not result["ok"]:
        faults["lost"] = result["expected"] - result["received"]
    sys.stdout.write(
        f"  {server:<14} {connections:>6} {scenario:<16} {result['deliveries_per_second']:>12,.0f}/s"
        f"  p99 {result['latency']['p99_ms']:>8.1f} ms  server {result['server_cores']:.2f}"
        f"  foreign {result['foreign_cores']:.2f}  {'ok' if result['ok'] else f'FAILED {faults}'}\n"
    )
    sys.stdout.flush()


def per_core(result: Result) -> float:
    """Deliveries per second of the server's CPU time: says the same on a busy machine as on an idle one."""
    return float(result["deliveries_per_second"]) / max(float(result["server_cores"]), 0.01)


def median(values: Iterable[float]) -> float:
    """0 when there are none."""
    listed = list(values)
    return statistics.median(listed) if listed else 0.0
