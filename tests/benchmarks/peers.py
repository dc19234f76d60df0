"""The gateway beside other servers, all in one interleaved run on one core, every message checked on every connection.

    python -m tests.benchmarks.peers [--repeat 5] [--seconds 3] [--only uws,soketi] [--folder FOLDER]

Peers are installed from npm and apt into FOLDER (default: the user's cache). The gateway runs with everything on; uws
and ws are bare scripts without protocol, authentication or history; Soketi runs with authentication and its in-memory
adapter. The table goes into docs/performance.md between its markers with `--write`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from sharedjox_devstack.redis import EmbeddedRedis

from . import machine, servers
from .near_cores import NearCores
from .peer_servers import install, peer
from .report import Report, read_budgets
from .scenarios import Flood, Rate, Results, Scenario, median, per_core, run_side_by_side
from .servers import Server

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- bench-peers -->", "<!-- /bench-peers -->"
Rounds = dict[str, list[dict[str, Results]]]


def few(seconds: float) -> list[Scenario]:
    """On 1,000 connections. The last is longer: of 40 events/s, the slowest hundredth must not be a single event."""
    turns = turns_of(seconds)
    return [
        Flood("w1", 1, seconds, turns=turns),
        Flood("w8", 8, seconds, turns=turns),
        Flood("w64", 64, seconds, turns=turns),
        Rate("rate40", 40, 4 * seconds, turns=4 * turns, is_undisturbed=True),
    ]


def many(seconds: float) -> list[Scenario]:
    """On 10,000 connections."""
    return [Flood("w1", 1, seconds, turns=turns_of(seconds)), Rate("rate5", 5, seconds, probe_ms=7)]


def turns_of(seconds: float) -> int:
    """A second each: the machine is slower for seconds now and then, which all servers shall have their part of."""
    return max(1, round(seconds))


def start(kind: str, redis: EmbeddedRedis, installed: Path, folder: Path) -> AbstractContextManager[Server]:
    """A fresh server."""
    if kind == "gateway":
        return servers.gateway(folder, redis, channel="private-bench")
    if kind == "c":
        return servers.baseline(folder, channel="bench")
    return peer(kind, installed, folder)


def run_round(
    kinds: Sequence[str],
    redis: EmbeddedRedis,
    installed: Path,
    folder: Path,
    options: argparse.Namespace,
    cores: NearCores,
) -> dict[str, dict[str, Results]]:
    """All scenarios on all kinds of servers, in turn in this order: results by kind and by "1k" and "10k"."""
    starts = {kind: partial(start, kind, redis, installed, folder) for kind in kinds}
    found = {
        "1k": run_side_by_side(starts, options.few, few(options.seconds), cores=cores),
        # Pongs on nchan and pings from other traffic have no counterpart there.
        "10k": run_side_by_side(
            starts,
            options.connections,
            many(options.seconds),
            skipped=lambda kind, scenario: kind == "nchan" and isinstance(scenario, Rate),
            cores=cores,
        ),
    }
    return {kind: {where: results[kind] for where, results in found.items()} for kind in kinds}


def value(results: dict[str, Results], where: str, scenario: str, what: str) -> float | None:
    """One figure of one round; None when that did not run."""
    result = results.get(where, {}).get(scenario)
    if result is None:
        return None
    if what == "p99_ms":
        return float(result["latency"]["p99_ms"])
    if what == "probe_ms":
        return float(result["probe"]["p99_ms"]) if result["probe"]["count"] else None
    if what == "per_core":
        return per_core(result)
    return float(result[what])


COLUMNS = (
    ("1k, 1 in flight", "1k", "w1", "deliveries_per_second"),
    ("1k, 8", "1k", "w8", "deliveries_per_second"),
    ("1k, 64", "1k", "w64", "deliveries_per_second"),
    ("10k, 1", "10k", "w1", "deliveries_per_second"),
    ("40/s p99 ms", "1k", "rate40", "p99_ms"),
    ("40/s cores", "1k", "rate40", "server_cores"),
    ("other traffic p99 ms", "10k", "rate5", "probe_ms"),
    ("connects/s", "10k", "connect", "per_second"),
    ("B/connection", "10k", "connect", "bytes_per_connection"),
)
RATIOS = (
    *((f"{where}_{scenario}", where, scenario, "deliveries_per_second") for where, scenario in
      (("1k", "w1"), ("1k", "w8"), ("1k", "w64"), ("10k", "w1"))),
    *((f"{where}_{scenario}_per_core", where, scenario, "per_core") for where, scenario in
      (("1k", "w1"), ("1k", "w8"), ("1k", "w64"), ("10k", "w1"))),
    ("rate40_p99", "1k", "rate40", "p99_ms"),
    ("rate40_cpu", "1k", "rate40", "server_cores"),
    ("connects", "10k", "connect", "per_second"),
    ("connect_cpu", "10k", "connect", "server_cpu_us_per_connection"),
    ("memory", "10k", "connect", "bytes_per_connection"),
)  # fmt: skip


def medians(rounds: Rounds, kind: str, where: str, scenario: str, what: str) -> float | None:
    """The median over the rounds."""
    found = [value(results, where, scenario, what) for results in rounds[kind]]
    return median(each for each in found if each is not None) if any(each is not None for each in found) else None


def figures(rounds: Rounds) -> dict[str, float]:
    """The gateway's ratio to each other server: medians of the ratios within a round."""
    found: dict[str, float] = {}
    for kind in rounds:
        if kind == "gateway":
            continue
        for name, where, scenario, what in RATIOS:
            pairs = [
                (value(mine, where, scenario, what), value(its, where, scenario, what))
                for mine, its in zip(rounds["gateway"], rounds[kind], strict=True)
            ]
            ratios = [mine / its for mine, its in pairs if mine is not None and its]
            if ratios:
                found[f"{name}_to_{kind}"] = median(ratios)
    found["failed_runs"] = sum(
        not result["ok"]
        for results in rounds["gateway"]
        for where in results.values()
        for name, result in where.items()
        if name != "connect"
    )
    return found


def table(rounds: Rounds, repeat: int) -> str:
    """Markdown: medians of each server, then the gateway's ratio to it."""
    names = list(rounds)
    lines = [
        f"Medians of {repeat} interleaved rounds.",
        "",
        "| server | " + " | ".join(title for title, *_ in COLUMNS) + " |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for kind in names:
        cells = [medians(rounds, kind, where, scenario, what) for _, where, scenario, what in COLUMNS]
        shown = ["-" if each is None else f"{each:,.0f}" if each >= 100 else f"{each:.2f}" for each in cells]
        lines.append(f"| {kind} | " + " | ".join(shown) + " |")
    ratios = figures(rounds)
    lines += ["", "| gateway to | " + " | ".join(name for name, *_ in RATIOS) + " |", "|---|" + "---:|" * len(RATIOS)]
    for kind in names:
        if kind != "gateway":
            row = [ratios.get(f"{name}_to_{kind}") for name, *_ in RATIOS]
            lines.append(f"| {kind} | " + " | ".join("-" if each is None else f"{each:.2f}" for each in row) + " |")
    return "\n".join(lines)


def write_document(text: str) -> None:
    """Put the table between its markers."""
    document = DOCUMENT.read_text("utf-8")
    before, found, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not found:
        msg = f"{DOCUMENT} has no {BEGIN}"
        raise ValueError(msg)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sharedjox-bench-peers"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=10_000, help="of the big runs")
    parser.add_argument("--few", type=int, default=1000, help="connections of the other runs")
    parser.add_argument("--only", default="", help="comma separated peers")
    parser.add_argument("--folder", type=Path, default=cache)
    parser.add_argument("--write", action="store_true", help="update docs/performance.md")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    machine.take_priority()
    available = install(options.folder)
    wanted = [name for name in options.only.split(",") if name] or available
    kinds = ["gateway", "c", *(name for name in available if name in wanted)]
    rounds: Rounds = {kind: [] for kind in kinds}
    cores = NearCores.of_run(options.repeat, options.seconds)
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name:
        folder = Path(name)
        with servers.redis_server(folder) as redis:
            for number in range(options.repeat):
                order = kinds[number % len(kinds) :] + kinds[: number % len(kinds)]
                for kind, results in run_round(order, redis, options.folder, folder, options, cores).items():
                    rounds[kind].append(results)
    report = Report("peers", read_budgets("peers"))
    report.add(**figures(rounds), **cores.figures())
    report.details["parameters"] = {name: str(each) for name, each in vars(options).items()}
    report.details["rounds"] = rounds
    text = table(rounds, options.repeat)
    sys.stdout.write(text + "\n\n")
    if options.write:
        write_document(text)
    return report.finish()


if __name__ == "__main__":
    install(parse(None).folder)  # before the network is left
    machine.isolate("tests.benchmarks.peers", sys.argv[1:])
    sys.exit(main())
