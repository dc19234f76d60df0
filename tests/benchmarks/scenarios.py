"""Load on one server: scenarios in order on the same connections, every message checked."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from . import machine
from .load_client.client import LoadClient, LoadFailedError
from .load_client.results import Result, for_report, merged
from .near_cores import NearCores
from .servers import Server

SETTLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Flood:
    """`window` messages always in flight, `turns` times for a part of `seconds`."""

    name: str
    window: int
    seconds: float = 3.0
    probe_ms: int = 0
    turns: int = 1

    def run(self, client: LoadClient) -> Result:
        """Run one turn."""
        return client.flood(self.window, self.seconds / self.turns, probe_ms=self.probe_ms)


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages at fixed times, `turns` times for a part of `seconds`; `stalled` connections stop reading before.

    `is_undisturbed`: nothing else gets a core while it runs (`machine.undisturbed`).
    """

    name: str
    per_second: float
    seconds: float = 4.0
    probe_ms: int = 0
    stalled: int = 0
    turns: int = 1
    is_undisturbed: bool = False

    def run(self, client: LoadClient) -> Result:
        """Run one turn."""
        if self.stalled:
            client.stall(self.stalled)
        with machine.undisturbed(client.all_pids()) if self.is_undisturbed else contextlib.nullcontext():
            return client.rate(self.per_second, self.seconds / self.turns, probe_ms=self.probe_ms)


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing but the probe: the least that it waits on this machine, in the state it is in."""

    name: str
    seconds: float = 3.0
    probe_ms: int = 7
    turns: ClassVar[int] = 1

    def run(self, client: LoadClient) -> Result:
        """Run it."""
        return client.idle(self.seconds, probe_ms=self.probe_ms)


Scenario = Flood | Rate | Idle
Results = dict[str, Result]
StartServer = Callable[[], AbstractContextManager[Server]]


def take_turn(scenario: Scenario, client: LoadClient, cores: NearCores | None) -> Result:
    """One turn, with near cores where somebody sees to that."""
    turn = partial(scenario.run, client)
    return cores.run(turn) if cores else turn()


def run_scenarios(
    server: Server,
    connections: int,
    scenarios: Sequence[Scenario],
    *,
    channels: int = 1,
    active: int = 0,
    cores: NearCores | None = None,
) -> Results:
    """Connect, run, disconnect. The result of connecting is under "connect".

    Only the first `active` channels get messages; 0: all do.
    """
    options = [*server.options, "--channels", str(channels), "--active", str(active)]
    results: Results = {}
    with LoadClient(options, server.pids, connections=connections) as client:
        results["connect"] = client.connect()
        time.sleep(SETTLE_SECONDS)
        for scenario in scenarios:
            result = merged([take_turn(scenario, client, cores) for _ in range(scenario.turns)])
            tell(server.name, connections, scenario.name, result)
            results[scenario.name] = for_report(result)
    return results


def run_side_by_side(
    starts: Mapping[str, StartServer],
    connections: int,
    scenarios: Sequence[Scenario],
    *,
    skipped: Callable[[str, Scenario], bool] = lambda _kind, _scenario: False,
    cores: NearCores | None = None,
) -> dict[str, Results]:
    """Start a fresh server of every kind, connect to all, then run each scenario on one after the other, turn by turn.

    So those that are compared run within seconds of each other, on a machine in the same state, of which `cores` see to
    a part. The turns of a scenario are one result (`load_client.results.merged`). The result of connecting, with
    `bytes_per_connection` of user memory, is under "connect". A kind whose load client gave up has no results from
    there on.
    """
    results: dict[str, Results] = {kind: {} for kind in starts}
    clients: dict[str, LoadClient] = {}
    with contextlib.ExitStack() as stack:
        for kind, start in starts.items():
            server = stack.enter_context(start())
            before = sum(map(machine.rss_kb, server.pids))
            client = stack.enter_context(
                LoadClient([*server.options, "--channels", "1"], server.pids, connections=connections)
            )
            try:
                connected = results[kind]["connect"] = client.connect()
            except LoadFailedError as error:
                give_up(kind, "connect", error)
                continue
            time.sleep(SETTLE_SECONDS)
            grown = sum(map(machine.rss_kb, server.pids)) - before
            connected["bytes_per_connection"] = grown * 1024 / connections
            clients[kind] = client
        for scenario in scenarios:
            turns: dict[str, list[Result]] = {kind: [] for kind in clients if not skipped(kind, scenario)}
            for _ in range(scenario.turns):
                for kind, parts in list(turns.items()):
                    try:
                        parts.append(take_turn(scenario, clients[kind], cores))
                    except LoadFailedError as error:
                        give_up(kind, scenario.name, error)
                        del clients[kind], turns[kind]
            for kind, parts in turns.items():
                result = merged(parts)
                tell(kind, connections, scenario.name, result)
                results[kind][scenario.name] = for_report(result)
    return results


def give_up(kind: str, scenario: str, error: LoadFailedError) -> None:
    """Say that a server is out."""
    sys.stdout.write(f"  {kind} {scenario}: {error}\n")


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
