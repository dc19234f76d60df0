"""Appending events in the caller's transaction.

The state change and its events commit together or not at all. Order: `append` takes one advisory lock for each channel
(in sorted order, so two transactions cannot wait for each other in a circle) and holds it until the transaction ends;
row ids of a channel are therefore assigned in commit order, which a sequence alone does not promise. Call it last in
the transaction: from then until the commit, other writers of the same channel wait.
"""

from __future__ import annotations

import functools
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
from sharedjox_contracts.codec import encode_json_text
from sharedjox_contracts.events import Payload
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from .schema import SHARDS

_LOCK_NAMESPACE = 0x5B0  # first half of the advisory lock pair; the second is the channel's hash


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """One domain event and the channels it goes to."""

    payload: Payload
    channels: tuple[str, ...]
    event_id: uuid.UUID = field(default_factory=uuid.uuid4)
    except_socket_id: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


def shard_of(channel: str) -> int:
    """The shard of a channel: stable over processes and releases."""
    return zlib.crc32(channel.encode()) % SHARDS


def _lock_number(channel: str) -> int:
    return zlib.crc32(channel.encode()) - 2**31  # a signed 32-bit integer, as pg_advisory_xact_lock(int, int) wants


# One statement for locks and rows: transactions hold their channels' locks no longer than they must. Identities are
# given while the rows come out of the sort, and the sort has asked for the locks first.
_APPEND = text(
    "WITH locked AS MATERIALIZED ("
    " SELECT count(pg_advisory_xact_lock(:namespace, number)) AS channels"
    " FROM unnest(CAST(:numbers AS integer[])) AS number"
    ")"
    " INSERT INTO outbox_messages"
    " (shard, event_id, channel, event_name, payload, except_socket_id, request_id, traceparent)"
    " SELECT shard, event_id, channel, event_name, CAST(payload AS jsonb), except_socket_id, request_id, traceparent"
    " FROM locked, unnest("
    "CAST(:shards AS smallint[]), CAST(:event_ids AS uuid[]), CAST(:channels AS text[]), CAST(:event_names AS text[]),"
    " CAST(:payloads AS text[]), CAST(:except_socket_ids AS text[]), CAST(:request_ids AS text[]),"
    " CAST(:traceparents AS text[])"
    ") WITH ORDINALITY AS row (shard, event_id, channel, event_name, payload, except_socket_id, request_id,"
    " traceparent, position)"
    " WHERE locked.channels > 0 ORDER BY position"
)


_NAMES: Final = (
    "namespace",
    "numbers",
    "shards",
    "event_ids",
    "channels",
    "event_names",
    "payloads",
    "except_socket_ids",
    "request_ids",
    "traceparents",
)
_APPEND_ON_DRIVER: Final = functools.reduce(
    lambda sql, named: sql.replace(f":{named[1]}", f"${named[0]}"), enumerate(_NAMES, 1), _APPEND.text
)


async def append(connection: AsyncConnection | AsyncSession, events: Sequence[OutboxEvent]) -> int:
    """Add `events` to the caller's open transaction; returns the number of rows (one per event and channel).

    Events keep their order on every channel they share. The caller commits.
    """
    rows = _rows(events)
    if rows:
        await connection.execute(_APPEND, _parameters(rows))
    return len(rows)


async def append_on_driver(driver: asyncpg.Connection[Any], events: Sequence[OutboxEvent]) -> int:
    """The same for a transaction that was begun on asyncpg itself; SQLAlchemy would begin another one."""
    rows = _rows(events)
    if rows:
        await driver.execute(_APPEND_ON_DRIVER, *_parameters(rows).values())
    return len(rows)


def _rows(events: Sequence[OutboxEvent]) -> list[tuple[OutboxEvent, str]]:
    return [(event, channel) for event in events for channel in event.channels]


def _parameters(rows: Sequence[tuple[OutboxEvent, str]]) -> dict[str, object]:
    """By name, in the order of `_NAMES`."""
    payloads = {event.event_id: encode_json_text(event.payload) for event, _ in rows}
    return dict(
        zip(
            _NAMES,
            (
                _LOCK_NAMESPACE,
                sorted({_lock_number(channel) for _, channel in rows}),
                [shard_of(channel) for _, channel in rows],
                [event.event_id for event, _ in rows],
                [channel for _, channel in rows],
                [event.payload.event_name for event, _ in rows],
                [payloads[event.event_id] for event, _ in rows],
                [event.except_socket_id for event, _ in rows],
                [event.request_id for event, _ in rows],
                [event.traceparent for event, _ in rows],
            ),
            strict=True,
        )
    )
