"""Appending events in the caller's transaction.

The state change and its events commit together or not at all. Order: `append` takes one advisory lock for each channel
(in sorted order, so two transactions cannot wait for each other in a circle) and holds it until the transaction ends;
row ids of a channel are therefore assigned in commit order, which a sequence alone does not promise. Call it last in
the transaction: from then until the commit, other writers of the same channel wait.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

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


async def append(connection: AsyncConnection | AsyncSession, events: Sequence[OutboxEvent]) -> int:
    """Add `events` to the caller's open transaction; returns the number of rows (one per event and channel).

    Events keep their order on every channel they share. The caller commits.
    """
    rows = [(event, channel) for event in events for channel in event.channels]
    if not rows:
        return 0
    numbers = sorted({_lock_number(channel) for _, channel in rows})
    await connection.execute(
        _APPEND,
        {
            "namespace": _LOCK_NAMESPACE,
            "numbers": numbers,
            "shards": [shard_of(channel) for _, channel in rows],
            "event_ids": [event.event_id for event, _ in rows],
            "channels": [channel for _, channel in rows],
            "event_names": [event.payload.event_name for event, _ in rows],
            "payloads": [encode_json_text(event.payload) for event, _ in rows],
            "except_socket_ids": [event.except_socket_id for event, _ in rows],
            "request_ids": [event.request_id for event, _ in rows],
            "traceparents": [event.traceparent for event, _ in rows],
        },
    )
    return len(rows)
