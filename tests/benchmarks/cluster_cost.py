"""What a durable event costs the servers when channels are on one Redis, and when they are on a Cluster.

    python -m tests.benchmarks.cluster_cost [--events 50000] [--listeners 2]

A relay's publisher sends batches of 500 events to 500 channels, the next when all of the last are answered.
`--listeners` connections to each server hear its channels, as that many gateways would. Processor time is the servers'
own account, so it does not depend on how many cores the machine has: masters that share one here have one each in
production.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis
from sharedjox_contracts.frames import open_event_frame
from sharedjox_contracts.publication import Header
from sharedjox_contracts.redis_layout import HistoryLimits, channel_slot, live_topic
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_kit.cluster_clients import ClusterClients
from sharedjox_kit.redis import create_redis
from sharedjox_kit.redis_address import parse_cluster_url
from sharedjox_outbox.claims import Row
from sharedjox_outbox.cluster_publisher import ClusterPublisher
from sharedjox_outbox.preparation import EventStep, PreparedEvent
from sharedjox_outbox.publisher import EventPublisher, Publisher, StepPublished

from tests.support.polling import eventually
from tests.support.redis_cluster import running_cluster
from tests.support.tcp_client import dialled

from . import machine, servers
from .scale import redis_seconds

APP = "1001"
BATCH = 500
CHANNELS = [f"private-user.{number}" for number in range(BATCH)]
DATA = '{\\"padding\\":\\"' + "x" * 260 + '\\"}'
MASTERS = 3
MESSAGE = b"message\r\n"
"""What each event that a server sends begins with, sharded or not (RESP, "Pub/sub")."""
READ_BYTES = 1 << 18
DEADLINE = 30


def batch() -> list[EventStep]:
    """An event for each channel."""
    made = []
    for channel in CHANNELS:
        identity = uuid.uuid4()
        row = Row(0, identity, channel, "bench", "{}", None, None, None, dt.datetime.now(dt.UTC), 0)
        frame = open_event_frame(event="bench", channel=channel, data=DATA, event_id=str(identity))
        event = PreparedEvent(row, frame, Header("bench", event_id=str(identity)))
        made.append(EventStep(channel, (event,), HistoryLimits(), 0))
    return made


async def publish(
    publisher: Publisher, events: int, measured: Sequence[EmbeddedRedis], audience: Audience, listeners: int
) -> dict[str, float]:
    """Publish and account: events a second, and microseconds of processor time an event, of all servers together.

    It is over when each event was heard by as many as listen. Raises: AssertionError, when one was not.
    """
    await publisher.publish(batch(), repeating=True)  # loads what is to be loaded, makes the channels
    batches = [batch() for _ in range(events // BATCH)]
    before, started = [redis_seconds(one) for one in measured], time.perf_counter()
    for one in batches:
        results = await publisher.publish(one, repeating=True)
        if not all(isinstance(result, StepPublished) for result in results):
            msg = f"not confirmed: {results[0]!r}"
            raise RuntimeError(msg)
    seconds = time.perf_counter() - started
    await audience.has_heard(listeners * BATCH * (len(batches) + 1))
    used = [redis_seconds(one) - was for one, was in zip(measured, before, strict=True)]
    published = len(batches) * BATCH
    return {
        "events_per_second": published / seconds,
        "us_per_event": sum(used) / published * 1e6,
        "busiest_share": max(used) / sum(used),
    }


@dataclass(slots=True)
class Audience:
    """Connections that hear channels and throw away what they hear; `heard` counts the events of all of them."""

    heard: int = 0
    _listening: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def __aenter__(self) -> Audience:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listening.aclose()

    async def add(self, client: Redis, command: str, channels: Sequence[str], count: int) -> None:
        """`count` more, on the server of `client`; returns when it has confirmed the channels to each."""
        server = client.connection_pool.connection_kwargs
        wanted = b"".join(f"{command} {live_topic(APP, channel)}\r\n".encode() for channel in channels)
        for _ in range(count):
            reader, writer = await self._listening.enter_async_context(dialled(server["port"], host=server["host"]))
            writer.write(wanted)
            for _ in channels:
                await reader.readuntil(b"subscribe\r\n")
            task = asyncio.create_task(self._listen(reader))
            self._listening.callback(task.cancel)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await reader.read(READ_BYTES):
            heard = rest + chunk
            self.heard += heard.count(MESSAGE)
            rest = heard[-len(MESSAGE) + 1 :]

    async def has_heard(self, events: int) -> None:
        """Wait until all of them together have heard so many. Raises: AssertionError, when they do not."""
        await eventually(lambda: self.heard >= events, DEADLINE, what=f"{events} events are heard")
        assert self.heard == events, f"{self.heard} events were heard of {events}"


async def measure_one(redis: EmbeddedRedis, events: int, listeners: int) -> dict[str, float]:
    """Channels on one Redis."""
    client = create_redis(redis.url, retries=0)
    publisher = EventPublisher(client, app_id=APP)
    await publisher.begin_repeating()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        audience = await stack.enter_async_context(Audience())
        await audience.add(client, "SUBSCRIBE", CHANNELS, listeners)
        return await publish(publisher, events, [redis], audience, listeners)


async def measure_cluster(folder: Path, redis: EmbeddedRedis, events: int, listeners: int) -> dict[str, float]:
    """Channels on a Cluster of MASTERS."""
    with running_cluster(folder, masters=MASTERS, durable=False) as cluster:
        clients = ClusterClients(parse_cluster_url(cluster.url))
        main = create_redis(redis.url, retries=0)
        publisher = ClusterPublisher(clients, EventPublisher(main, app_id=APP), app_id=APP)
        async with contextlib.AsyncExitStack() as stack:
            for closing in (clients.aclose, main.aclose, publisher.aclose):
                stack.push_async_callback(closing)
            audience = await stack.enter_async_context(Audience())
            for place in (await clients.refresh()).masters:
                await EventPublisher(clients.client(place), app_id=APP, sharded=True).begin_repeating()
                own = [name for name in CHANNELS if clients.owner(channel_slot(APP, name)) == place]
                await audience.add(clients.client(place), "SSUBSCRIBE", own, listeners)
            return await publish(publisher, events, [*cluster.masters], audience, listeners)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--listeners", type=int, default=2)
    options = parser.parse_args(arguments)
    machine.take_priority()
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as name, servers.redis_server(Path(name)) as redis:
        one = asyncio.run(measure_one(redis, options.events, options.listeners))
        many = asyncio.run(measure_cluster(Path(name) / "cluster", redis, options.events, options.listeners))
    for what, found in (("one Redis", one), (f"{MASTERS} masters", many)):
        sys.stdout.write(
            f"{what:>10}: {found['events_per_second']:>7,.0f} events/s here, {found['us_per_event']:.1f} us an event,"
            f" {found['us_per_event'] * found['busiest_share']:.1f} us of it on the busiest server\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
