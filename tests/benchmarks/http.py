"""Signed `POST /events` per second of one gateway core, with signature check, publish to Redis and metrics on.

    python -m tests.benchmarks.http [--seconds 5] [--rounds 3] [--connections 128] [--soketi FOLDER]

The server is pinned to core 0; the client and Redis share core 1. With `--soketi`, a folder in which npm has installed
`@soketi/soketi` (docs/performance.md says how), both servers are measured in turn in the same run, Soketi with its
Redis adapter, so that both publish to Redis. Soketi closes the connection after every answer, so ours is also measured
with a new connection for each request. After each round the events in Redis are counted against the metrics.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.processes import ServiceProcess, python_module, running

from .http_load import LoadResult
from .machine import CLIENT_CORE, SERVER_CORE, cpu_seconds, give_priority, pin
from .report import Report, percentile, read_budgets

APP = {"app_id": "1001", "key": "sharedjox", "secret": "sharedjox-secret"}
CHANNELS = 10
PAYLOAD_BYTES = 200


@contextlib.contextmanager
def gateway(folder: Path, redis_url: str) -> Iterator[tuple[int, int]]:
    """One gateway process on its own core: (port, process id)."""
    port = free_port()
    env = {"REDIS_URL": redis_url, "REVERB_HOST": "127.0.0.1", "REVERB_PORT": str(port), "DRAIN_SECONDS": "0"}
    service = ServiceProcess(
        "gateway", python_module("sharedjox_gateway.main"), log_file=folder / "gateway.log", env=env, ready_port=port
    )
    with running(service):
        pin(service.pid, SERVER_CORE)
        give_priority(service.pid)
        yield port, service.pid


@contextlib.contextmanager
def soketi(folder: Path, installed: Path, redis_port: int) -> Iterator[tuple[int, int]]:
    """One Soketi process on the same core: (port, process id)."""
    port, metrics_port = free_port(), free_port()
    env = {
        "SOKETI_HOST": "127.0.0.1",
        "SOKETI_PORT": str(port),
        "SOKETI_METRICS_ENABLED": "1",
        "SOKETI_METRICS_SERVER_PORT": str(metrics_port),
        "SOKETI_ADAPTER_DRIVER": "redis",
        "SOKETI_DB_REDIS_HOST": "127.0.0.1",
        "SOKETI_DB_REDIS_PORT": str(redis_port),
        "SOKETI_DEFAULT_APP_ID": APP["app_id"],
        "SOKETI_DEFAULT_APP_KEY": APP["key"],
        "SOKETI_DEFAULT_APP_SECRET": APP["secret"],
        "SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC": "-1",
    }
    command = ["node", str(installed / "node_modules" / "@soketi" / "soketi" / "bin" / "server.js"), "start"]
    service = ServiceProcess(
        "soketi", command, log_file=folder / "soketi.log", env=env, ready_port=port, ready_path="/"
    )
    with running(service):
        pin(service.pid, SERVER_CORE)
        give_priority(service.pid)
        yield port, service.pid


def load(folder: Path, port: int, *, connections: int, seconds: float, keeps_alive: bool) -> LoadResult:
    """Run the client as a process on another core."""
    settings: dict[str, Any] = {
        "app": APP,
        "port": port,
        "channels": CHANNELS,
        "payload": PAYLOAD_BYTES,
        "connections": connections,
        "seconds": seconds,
        "keepsAlive": keeps_alive,
        "core": CLIENT_CORE if CLIENT_CORE != SERVER_CORE else None,
    }
    file = folder / "load.json"
    file.write_text(json.dumps(settings))
    command = python_module("tests.benchmarks.http_load", str(file))
    # A session of its own: the priority it gives itself is not to be the terminal's.
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, start_new_session=True)
    return LoadResult(**json.loads(done.stdout))


def measure(
    folder: Path, port: int, pids: Mapping[str, int], arguments: argparse.Namespace, *, keeps_alive: bool = True
) -> dict[str, float]:
    """One round: figures of the load and the share of a core that each process took."""
    load(folder, port, connections=arguments.connections, seconds=1, keeps_alive=keeps_alive)
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    result = load(folder, port, connections=arguments.connections, seconds=arguments.seconds, keeps_alive=keeps_alive)
    figures = {
        "requests_per_second": result.requests / result.seconds,
        "p50_ms": percentile(result.latencies_ms, 0.5),
        "p99_ms": percentile(result.latencies_ms, 0.99),
        "refused": float(result.refused),
        "client_core_percent": 100 * result.cpu_seconds / result.seconds,
    }
    # On a machine that others use too, the server does not get its core whole: this is what a whole one would do.
    figures["requests_per_core_second"] = result.requests / (cpu_seconds(pids["server"]) - before["server"])
    for name, pid in pids.items():
        figures[f"{name}_core_percent"] = 100 * (cpu_seconds(pid) - before[name]) / result.seconds
    return figures


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def events_in_redis(redis: EmbeddedRedis) -> int:
    """How many events stand in the histories' positions: what the gateway says it published must be there."""
    total = 0
    for number in range(CHANNELS):
        answer = redis.run_command(f"HGET sj:{{{APP['app_id']}:bench-{number}}}:meta o").split("\r\n")
        total += int(answer[1]) if len(answer) > 1 else 0
    return total


def published(port: int) -> int:
    """What the gateway's own metrics say."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return int(
        next(
            float(line.split()[1])
            for line in text.splitlines()
            if line.startswith("sharedjox_gateway_api_events_total ")
        )
    )


def run(arguments: argparse.Namespace) -> Report:
    """Measure in rounds, the servers in turn."""
    budgets = dict(read_budgets("http"))
    if arguments.soketi is None:
        budgets = {name: budget for name, budget in budgets.items() if not name.startswith("ratio_")}
    report = Report("http", budgets)
    rounds: dict[str, list[dict[str, float]]] = {"": [], "new_connection_": [], "soketi_": []}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as cleanup:
        folder = Path(name)
        redis = EmbeddedRedis(folder / "redis", free_port(), durable=False)
        redis.start()
        cleanup.callback(redis.stop)
        pin(redis_pid(redis), CLIENT_CORE)
        give_priority(redis_pid(redis))
        for _ in range(arguments.rounds):
            redis.flush()
            with gateway(folder, redis.url) as (port, pid):
                pids = {"server": pid, "redis": redis_pid(redis)}
                rounds[""].append(measure(folder, port, pids, arguments))
                if arguments.soketi is not None:
                    rounds["new_connection_"].append(measure(folder, port, pids, arguments, keeps_alive=False))
                rounds[""][-1]["lost"] = published(port) - events_in_redis(redis)
            if arguments.soketi is not None:
                with soketi(folder, arguments.soketi, redis.port) as (port, pid):
                    pids = {"server": pid, "redis": redis_pid(redis)}
                    rounds["soketi_"].append(measure(folder, port, pids, arguments, keeps_alive=False))
    for prefix, figures in rounds.items():
        if figures:
            report.add(**{f"{prefix}{name}": value for name, value in medians(figures).items()})
    if arguments.soketi is not None:
        theirs = report.figures["soketi_requests_per_second"]
        report.add(ratio_to_soketi=report.figures["requests_per_second"] / theirs)
        report.add(ratio_with_new_connections=report.figures["new_connection_requests_per_second"] / theirs)
        per_core = report.figures["requests_per_core_second"] / report.figures["soketi_requests_per_core_second"]
        report.add(ratio_per_core_second=per_core)
    report.details["rounds"] = rounds
    return report


def redis_pid(redis: EmbeddedRedis) -> int:
    """The server's own process, not the one that holds its tether."""
    answer = redis.run_command("INFO server")
    return int(next(line.partition(":")[2] for line in answer.splitlines() if line.startswith("process_id:")))


def main() -> None:
    """Run, print, fail when a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--soketi", type=Path, help="folder with @soketi/soketi in its node_modules")
    report = run(parser.parse_args())
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
