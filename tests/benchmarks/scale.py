"""What one event, delivery and connection cost in processor time, by kind of process: the constants of the scale plan.

    python -m tests.benchmarks.scale [--seconds 3] [--events 8000]

1, 2 and 4 gateway processes with the same connections, 1 to 8 with hardly any (what each further subscriber costs
Redis), 1 and 2 relays as processes of their own. Processor time does not depend on how many cores the machine has:
processes that share a core here have one each in production. Prints the constants, then the plan that follows from
them (scale_model.py).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sharedjox_devstack.ports import free_port
from sharedjox_devstack.postgres import EmbeddedPostgres
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_outbox.schema import metadata
from sqlalchemy.ext.asyncio import create_async_engine

from . import machine, servers
from .load_client.client import LoadClient
from .relay import fill
from .report import Report
from .scale_model import Constants, line, order, plan, table

PRIVATE, OWN = "private-bench", "private-user.%d"
FEW, MANY, IDLE = 8, 2000, 4000
RATE = 200.0
"""Events a second where many listen: their deliveries leave the core room."""
IN_FLIGHT = 64
"""What keeps Redis busy: what it costs then, and not while it wakes up for each event, decides when it is full."""
RELAY_CHANNELS = 500


def redis_seconds(redis: EmbeddedRedis) -> float:
    """Processor time that Redis has used, by its own account (microseconds fine)."""
    lines = dict(part.split(":", 1) for part in redis.run_command("INFO cpu").splitlines() if ":" in part)
    return float(lines["used_cpu_user"]) + float(lines["used_cpu_sys"])


def measure_fanout(
    folder: Path, redis: EmbeddedRedis, processes: int, connections: int, rate: float, seconds: float
) -> dict[str, Any]:
    """Durable events at a fixed rate to one channel that all connections are on, spread over the processes."""
    with (
        servers.gateway(folder, redis, channel=PRIVATE, processes=processes) as server,
        LoadClient(server.options, server.pids, connections=connections) as client,
    ):
        client.connect()
        time.sleep(0.5)
        before = redis_seconds(redis)
        result = client.rate(rate, seconds)
        events = result["published"]
        measured = {
            "processes": processes,
            "connections": connections,
            "events": events,
            "redis_us_per_event": (redis_seconds(redis) - before) / events * 1e6,
            "gateways_us_per_event": result["server_cores"] / rate * 1e6,
            "p99_ms": result["latency"]["p99_ms"],
            "foreign_cores": result["foreign_cores"],
            "ok": result["ok"],
        }
    sys.stdout.write(
        f"  {processes} gateways, {connections:>5} connections: gateways {measured['gateways_us_per_event']:>8.1f} us"
        f" an event, Redis {measured['redis_us_per_event']:>6.1f} us, {'ok' if result['ok'] else 'FAILED'}\n"
    )
    sys.stdout.flush()
    return measured


def measure_busy_redis(folder: Path, redis: EmbeddedRedis, processes: int, seconds: float) -> dict[str, Any]:
    """What an event costs Redis with `IN_FLIGHT` events always under way and one member on each gateway process."""
    with (
        servers.gateway(folder, redis, channel=PRIVATE, processes=processes) as server,
        LoadClient(server.options, server.pids, connections=processes) as client,
    ):
        client.connect()
        time.sleep(0.5)
        before = redis_seconds(redis)
        result = client.flood(IN_FLIGHT, seconds)
        measured = {
            "processes": processes,
            "events": result["published"],
            "redis_us_per_event": (redis_seconds(redis) - before) / result["published"] * 1e6,
            "gateways_us_per_event": result["server_cores"] * seconds / result["published"] * 1e6,
            "foreign_cores": result["foreign_cores"],
            "ok": result["ok"],
        }
    sys.stdout.write(
        f"  {processes} gateways, busy: {measured['events'] / seconds:,.0f} events/s; gateways"
        f" {measured['gateways_us_per_event']:.1f} us an event, Redis {measured['redis_us_per_event']:.1f} us\n"
    )
    sys.stdout.flush()
    return measured


def measure_connects(folder: Path, redis: EmbeddedRedis, connections: int) -> dict[str, float]:
    """Each on a private channel of its own: processor time of gateway and Redis, and the gateway's memory."""
    with servers.gateway(folder, redis, channel=OWN) as server:
        time.sleep(0.5)
        memory, seconds = machine.rss_kb(server.pids[0]), redis_seconds(redis)
        options = [*server.options, "--channels", str(connections)]
        with LoadClient(options, server.pids, connections=connections) as client:
            result = client.connect()
            time.sleep(0.5)
            return {
                "gateway_connect_us": result["server_cpu_us_per_connection"],
                "redis_connect_us": (redis_seconds(redis) - seconds) / connections * 1e6,
                "gateway_connection_bytes": (machine.rss_kb(server.pids[0]) - memory) * 1024 / connections,
            }


# --- the relay --------------------------------------------------------------------------------------------------------


def postgres_seconds(postgres: EmbeddedPostgres) -> float:
    """Processor time of the server and all its processes, those that ended included."""
    return machine.family_seconds(postgres.process.pid)


async def prepare(database_url: str, events: int) -> None:
    """The outbox table with a backlog."""
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await fill(engine, events, RELAY_CHANNELS)
    await engine.dispose()


async def relay_backlog(database_url: str, redis_url: str, workers: int) -> list[tuple[float, float]]:
    """Run relays until nothing is left; (processor seconds, seconds) of each."""
    command = [sys.executable, "-m", "tests.benchmarks.scale_relay", database_url, redis_url]
    children = [
        await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.PIPE)
        for _ in range(workers)
    ]
    for child in children:
        assert child.stdout is not None
        await child.stdout.readline()  # it is connected
    outputs = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
    used = []
    for output, _ in outputs:
        processor, wall = output.decode().split()
        used.append((float(processor), float(wall)))
    return used


def measure_relay(folder: Path, redis: EmbeddedRedis, workers: int, events: int) -> dict[str, float]:
    """A backlog through one or two relays: what an event costs each server."""
    redis.flush()
    postgres = EmbeddedPostgres(folder / f"postgres-{workers}", free_port(), durable=True)
    postgres.start()
    try:
        url = postgres.create_database("bench")
        asyncio.run(prepare(url, events))
        postgres_before, redis_before = postgres_seconds(postgres), redis_seconds(redis)
        used = asyncio.run(relay_backlog(url, redis.url, workers))
        redis_after = redis_seconds(redis)
        time.sleep(0.2)
        measured = {
            "workers": workers,
            "events": events,
            "events_per_second": events / max(wall for _, wall in used),
            "worker_us_per_event": sum(processor for processor, _ in used) / events * 1e6,
            "redis_us_per_event": (redis_after - redis_before) / events * 1e6,
            "postgres_us_per_event": (postgres_seconds(postgres) - postgres_before) / events * 1e6,
        }
    finally:
        postgres.stop()
    sys.stdout.write(
        f"  {workers} relays: {measured['events_per_second']:,.0f} events/s; of an event: relay"
        f" {measured['worker_us_per_event']:.0f} us, Redis {measured['redis_us_per_event']:.0f} us,"
        f" Postgres {measured['postgres_us_per_event']:.0f} us\n"
    )
    return measured


# --- the constants ----------------------------------------------------------------------------------------------------


def constants_of(
    fanouts: Sequence[dict[str, Any]],
    busy: Sequence[dict[str, Any]],
    connects: dict[str, float],
    relays: Sequence[dict[str, float]],
) -> Constants:
    """What the model needs of what was measured. Of the runs with one and two relays the dearer counts."""
    alone = [one for one in fanouts if one["processes"] == 1]
    redis_event, redis_subscriber = line([(one["processes"], one["redis_us_per_event"]) for one in busy])
    gateway_event, delivery = line([(one["connections"], one["gateways_us_per_event"]) for one in alone])
    return Constants(
        gateway_event_us=gateway_event,
        gateway_delivery_us=delivery,
        gateway_connect_us=connects["gateway_connect_us"],
        gateway_connection_bytes=connects["gateway_connection_bytes"],
        redis_event_us=redis_event,
        redis_subscriber_us=redis_subscriber,
        redis_connect_us=connects["redis_connect_us"],
        worker_event_us=max(one["worker_us_per_event"] for one in relays),
        postgres_event_us=max(one["postgres_us_per_event"] for one in relays),
    )


def against_the_model(fanouts: Sequence[dict[str, Any]], constants: Constants) -> dict[str, float]:
    """What 2 and 4 gateways with many connections used, as a multiple of what the constants of one foretell."""
    return {
        f"gateways_{one['processes']}_to_model": one["gateways_us_per_event"]
        / (one["processes"] * constants.gateway_event_us + one["connections"] * constants.gateway_delivery_us)
        for one in fanouts
        if one["processes"] > 1 and one["connections"] != FEW
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--events", type=int, default=8000, help="of the relays' backlog")
    parser.add_argument("--connections", type=int, default=MANY, help="that share one channel")
    parser.add_argument("--idle", type=int, default=IDLE, help="connections on channels of their own")
    parser.add_argument("--few-rate", type=float, default=1000.0, help="events a second where hardly anybody listens")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    machine.take_priority()
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name:
        folder = Path(name)
        with servers.redis_server(folder) as redis:
            fanouts = [
                measure_fanout(folder, redis, processes, FEW, options.few_rate, options.seconds)
                for processes in (1, 2, 4, 8)
            ]
            fanouts += [
                measure_fanout(folder, redis, processes, options.connections, RATE, options.seconds)
                for processes in (1, 2, 4)
            ]
            busy = [measure_busy_redis(folder, redis, processes, options.seconds) for processes in (1, 2, 4, 8)]
            connects = measure_connects(folder, redis, options.idle)
            relays = [measure_relay(folder, redis, workers, options.events) for workers in (1, 2)]
    constants = constants_of(fanouts, busy, connects, relays)
    report = Report("scale", {})
    report.add(**asdict(constants))
    report.add(**against_the_model(fanouts, constants))
    report.add(failed_runs=sum(not one["ok"] for one in [*fanouts, *busy]))
    report.details["parameters"] = vars(options)
    report.details |= {"fanout": fanouts, "busy": busy, "connects": connects, "relay": relays}
    steps = plan(constants)
    report.details["plan"] = [asdict(step) for step in steps]
    status = report.finish()
    sys.stdout.write(f"\n{table(steps)}\n\n{order(constants)}\n")
    return status or int(report.figures["failed_runs"] > 0)


if __name__ == "__main__":
    machine.isolate("tests.benchmarks.scale", sys.argv[1:])
    sys.exit(main())
