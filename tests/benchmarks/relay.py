"""How fast one worker clears a backlog, through the real relay: outbox in Postgres, history and pub/sub in Redis.

    python -m tests.benchmarks.relay [--events 20000] [--channels 50] [--workers 1]

Starts its own servers. A subscriber of its own checks every channel: each event once, in commit order.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

import structlog
import uvloop
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sharedjox_contracts.codec import decode_json
from sharedjox_contracts.events import Payload, WalletUpdated
from sharedjox_contracts.publication import decode_publication
from sharedjox_contracts.redis_layout import live_topic
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.postgres import EmbeddedPostgres
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_kit.redis import create_redis
from sharedjox_outbox.build import build_relay
from sharedjox_outbox.claims import Row
from sharedjox_outbox.metrics import RelayMetrics
from sharedjox_outbox.postgres import create_relay_pool
from sharedjox_outbox.relay import ComeBack, Relay
from sharedjox_outbox.schema import metadata
from sharedjox_outbox.writer import OutboxEvent, append
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from .report import Report, percentile, read_budgets

APP = "1001"
ROWS_PER_TRANSACTION = 500
SILENCE_SECONDS = 2.0
"""A subscriber that hears nothing for so long has heard everything."""


def channel(number: int) -> str:
    """The channel that event `number` of `user` goes to."""
    return f"private-user.{number}"


def event(number: int, channels: int) -> OutboxEvent:
    """A typical event: about 150 bytes of payload; its number is the user id."""
    payload = WalletUpdated(
        user_id=number + 1,
        new_balance=Decimal("145.00"),
        available_balance=Decimal("145.00"),
        transaction_type="job_earning",
        amount=Decimal("45.00"),
        timestamp=dt.datetime(2026, 2, 21, 10, 30, tzinfo=dt.UTC),
    )
    return OutboxEvent(payload, (channel(number % channels + 1),))


async def fill(engine: AsyncEngine, events: int, channels: int) -> None:
    """Commit the backlog."""
    for start in range(0, events, ROWS_PER_TRANSACTION):
        batch = [event(number, channels) for number in range(start, min(start + ROWS_PER_TRANSACTION, events))]
        async with engine.begin() as connection:
            await append(connection, batch)
    async with engine.begin() as connection:
        await connection.execute(text("ANALYZE outbox_messages"))


class Subscriber:
    """Listens to every channel as a gateway does, and keeps the raw messages."""

    def __init__(self, redis: Redis, channels: int) -> None:
        self._subscription = redis.pubsub()
        self._topics = [live_topic(APP, channel(number)) for number in range(1, channels + 1)]
        self.messages: list[bytes] = []

    async def start(self) -> None:
        """Subscribe and wait for the confirmations."""
        await self._subscription.subscribe(*self._topics)
        for _ in self._topics:
            await self._subscription.get_message(timeout=5)

    async def listen(self, expected: int) -> None:
        """Until everything has come, or nothing comes any more."""
        while len(self.messages) < expected:
            message = await self._subscription.get_message(timeout=SILENCE_SECONDS)
            if message is None and self.messages:
                break
            if message is not None:
                self.messages.append(message["data"])
        await self._subscription.aclose()  # type: ignore[no-untyped-call]


def check(messages: Iterable[bytes], events: int, channels: int) -> dict[str, float]:
    """Count what is lost, repeated, out of order; offsets must be 1, 2, 3, … on each channel."""
    seen: Counter[int] = Counter()
    last_number: dict[int, int] = {}
    last_offset: Counter[int] = Counter()
    disorder = 0
    for message in messages:
        publication = decode_publication(message)
        number = decode_json(decode_json(publication.frame, dict)["data"], WalletUpdated).user_id - 1
        where = number % channels
        seen[number] += 1
        disorder += number < last_number.get(where, -1) or publication.offset != last_offset[where] + 1
        last_number[where], last_offset[where] = number, publication.offset
    repeated = sum(count - 1 for count in seen.values())
    return {"lost": events - len(seen), "repeated": repeated, "out_of_order": disorder}


async def drain(relay: Relay) -> None:
    """Work as a worker does until nothing is left."""
    result = await relay.drain()
    while isinstance(result, ComeBack):
        await asyncio.sleep(result.after_seconds)
        result = await relay.drain()


async def no_control(_row: Row, _payload: Payload) -> None:
    """The backlog has no control rows."""


async def measure(options: argparse.Namespace, database_url: str, redis_url: str) -> dict[str, float]:
    """Fill, relay, check."""
    async with AsyncExitStack() as stack:
        engine = create_async_engine(database_url)
        stack.push_async_callback(engine.dispose)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await fill(engine, options.events, options.channels)
        relays = []
        for _ in range(options.workers):
            pool = await create_relay_pool(database_url)
            stack.push_async_callback(pool.close)
            redis = create_redis(redis_url, retries=0)
            stack.push_async_callback(redis.aclose)
            metrics = RelayMetrics(CollectorRegistry())
            relays.append(build_relay(pool=pool, redis=redis, app_id=APP, metrics=metrics, on_control=no_control))
        listener = create_redis(redis_url)
        stack.push_async_callback(listener.aclose)
        subscriber = Subscriber(listener, options.channels)
        await subscriber.start()
        # The subscriber stands for the gateways. It has its own core in production; here it listens after the run.
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for relay in relays:
                group.create_task(drain(relay))
        seconds = time.perf_counter() - started
        await subscriber.listen(options.events)
        singles = await measure_single_events(engine, relays[0])
    return {
        "events_per_second": options.events / seconds,
        **check(subscriber.messages, options.events, options.channels),
        "single_event_p50_ms": percentile(singles, 0.5) * 1000,
        "single_event_p99_ms": percentile(singles, 0.99) * 1000,
    }


async def measure_single_events(engine: AsyncEngine, relay: Relay, count: int = 200) -> list[float]:
    """How long the relay takes for one event in an idle system, from bell to mark."""
    seconds = []
    for number in range(count):
        async with engine.begin() as connection:
            await append(connection, [event(number, 1)])
        started = time.perf_counter()
        await relay.drain()
        seconds.append(time.perf_counter() - started)
    return seconds


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1, help="relays in this process")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres", free_port(), durable=True)
        redis = EmbeddedRedis(Path(folder) / "redis", free_port(), durable=True)
        try:
            postgres.start()
            redis.start()
            # A subscriber that reads later than Redis writes must not be cut off by its output buffer limit.
            redis.run_command("CONFIG SET client-output-buffer-limit 'pubsub 0 0 0'")
            figures = uvloop.run(measure(options, postgres.create_database("bench"), redis.url))
        finally:
            redis.stop()
            postgres.stop()
    report = Report("relay", read_budgets("relay"))
    report.add(**figures)
    report.details["parameters"] = vars(options)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
