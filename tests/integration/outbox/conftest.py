"""A database with the outbox table, and relays on it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sharedjox_contracts.codec import decode_json
from sharedjox_contracts.events import Payload, WalletUpdated
from sharedjox_contracts.history import HistoryPolicy
from sharedjox_contracts.publication import Publication, decode_publication
from sharedjox_contracts.redis_layout import HistoryLimits, log_key
from sharedjox_kit.cluster_clients import ClusterClients
from sharedjox_kit.redis import create_redis
from sharedjox_outbox.build import build_relay
from sharedjox_outbox.claims import RecordPool, Row
from sharedjox_outbox.metrics import RelayMetrics
from sharedjox_outbox.postgres import create_relay_pool
from sharedjox_outbox.relay import ComeBack, Relay, RelaySettings
from sharedjox_outbox.schema import metadata
from sharedjox_outbox.writer import OutboxEvent, append
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.support.polling import scaled

APP = "1001"


def wallet_event(number: int, *channels: str) -> OutboxEvent:
    """An event that can be told from others by its number."""
    payload = WalletUpdated(
        user_id=number,
        new_balance=Decimal("145.00"),
        available_balance=Decimal("145.00"),
        transaction_type="job_earning",
        amount=Decimal("45.00"),
        timestamp=dt.datetime(2026, 2, 21, 10, 30, tzinfo=dt.UTC),
    )
    return OutboxEvent(payload, channels or ("private-user.3",))


@dataclass(slots=True)
class Outbox:
    """What the tests do to an outbox, and what they look at."""

    engine: AsyncEngine
    pool: RecordPool
    controls: list[Payload] = field(default_factory=list)
    metrics: RelayMetrics = field(default_factory=lambda: RelayMetrics(CollectorRegistry()))

    async def add(self, *events: OutboxEvent) -> None:
        """Append and commit."""
        async with self.engine.begin() as connection:
            await append(connection, events)

    async def sql(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Run one statement in a transaction of its own."""
        async with self.engine.begin() as connection:
            result = await connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    async def states(self) -> list[str]:
        """Of each row, in id order: pending, published or parked."""
        rows = await self.sql(
            "SELECT CASE WHEN parked_at IS NOT NULL THEN 'parked' WHEN published_at IS NOT NULL THEN 'published'"
            " ELSE 'pending' END FROM outbox_messages ORDER BY id"
        )
        return [str(state) for (state,) in rows]

    async def on_control(self, _row: Row, payload: Payload) -> None:
        """Remembers control rows."""
        self.controls.append(payload)

    def relay(
        self,
        redis: Redis,
        *,
        settings: RelaySettings | None = None,
        limits: HistoryLimits | None = None,
        on_control: Callable[[Row, Payload], Awaitable[None]] | None = None,
        channels: ClusterClients | None = None,
    ) -> Relay:
        """A relay from this outbox."""
        return build_relay(
            pool=self.pool,
            redis=redis,
            app_id=APP,
            metrics=self.metrics,
            on_control=on_control or self.on_control,
            settings=settings,
            history=HistoryPolicy(limits) if limits is not None else None,
            channels=channels,
        )


async def drain_until_idle(relay: Relay) -> None:
    """Do what a worker does: come back when the relay says so, until it has nothing left to do."""
    async with asyncio.timeout(scaled(15)):
        result = await relay.drain()
        while isinstance(result, ComeBack):
            await asyncio.sleep(result.after_seconds)
            result = await relay.drain()


async def history(redis: Redis, channel: str) -> list[Publication]:
    """What stands in a channel's history, oldest first."""
    entries = await redis.xrange(log_key(APP, channel))
    return [decode_publication(fields[b"m"]) for _, fields in entries]


async def history_numbers(redis: Redis, channel: str) -> list[int]:
    """The numbers of the `wallet_event`s in a channel's history; offsets must be without holes."""
    publications = await history(redis, channel)
    if publications:
        first = publications[0].offset
        assert [one.offset for one in publications] == list(range(first, first + len(publications)))
        assert len({one.epoch for one in publications}) == 1
    return [_number(one) for one in publications]


def _number(publication: Publication) -> int:
    frame = decode_json(publication.frame, dict)
    return decode_json(frame["data"], WalletUpdated).user_id


@pytest.fixture
async def outbox(empty_postgres_url: str) -> AsyncIterator[Outbox]:
    """An empty outbox."""
    engine = create_async_engine(empty_postgres_url, pool_size=20)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    pool = await create_relay_pool(empty_postgres_url, size=8)
    yield Outbox(engine, pool)
    await pool.close()
    await engine.dispose()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client that does not retry, as relays have it."""
    client = create_redis(redis_url, retries=0, timeout_seconds=3.0)
    yield client
    await client.aclose()
