"""Every statement that a relay runs against the outbox table.

Plain asyncpg: the relay is on the way of every event, and its few statements need no mapping.
A claim lives as long as its transaction: shards are locked by transaction-level advisory locks, so a relay that dies
lets go of them at once and nothing has to be cleaned up.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from .schema import SHARDS

if TYPE_CHECKING:
    from asyncpg import Pool, Record
    from asyncpg.pool import PoolConnectionProxy

# Generic in the type stubs only.
Connection: TypeAlias = "PoolConnectionProxy[Record]"
RecordPool: TypeAlias = "Pool[Record]"

_LOCK_NAMESPACE: Final = 0x5B1  # the writer's locks are in 0x5B0

_PENDING: Final = "m.published_at IS NULL AND m.parked_at IS NULL"
_COLUMNS: Final = (
    "m.id, m.event_id, m.channel, m.event_name, m.payload, m.except_socket_id, m.request_id, m.traceparent,"
    " m.created_at, m.attempts"
)

# One index probe for each shard. The order is random so that relays that start together spread out.
_LOCK_SHARDS: Final = f"""
WITH pending AS MATERIALIZED (
    SELECT s.shard
    FROM generate_series(0, {SHARDS - 1}) AS s (shard)
    WHERE EXISTS (
        SELECT FROM outbox_messages AS m WHERE m.shard = s.shard::smallint AND {_PENDING} AND m.channel <> ALL ($1)
    )
    ORDER BY random()
), locked AS MATERIALIZED (
    SELECT pending.shard FROM pending WHERE pg_try_advisory_xact_lock({_LOCK_NAMESPACE}, pending.shard) LIMIT $2
)
SELECT (SELECT count(*) FROM pending) AS pending, ARRAY (SELECT locked.shard::smallint FROM locked) AS locked
"""  # noqa: S608 - constants of this module, no input

# A second statement, so that it sees what was committed until after the locks were taken: rows that another relay has
# just published and marked do not come up again, and no older row can still be on its way (the writer's lock).
# A range of one shard ordered by (shard, id) is what only the index of pending rows can serve. With an equality the
# planner drops the shard from the order and may walk the primary key through all that was ever published: 7 ms with
# 20,000 published rows instead of 0.2.
_SELECT_PENDING: Final = f"""
SELECT {_COLUMNS}
FROM unnest($1::smallint[]) AS s (shard)
CROSS JOIN LATERAL (
    SELECT * FROM outbox_messages AS m
    WHERE m.shard BETWEEN s.shard AND s.shard AND {_PENDING} AND m.channel <> ALL ($2)
    ORDER BY m.shard, m.id LIMIT $3
) AS m
ORDER BY m.id
"""  # noqa: S608

_MARK_PUBLISHED: Final = "UPDATE outbox_messages SET published_at = clock_timestamp() WHERE id = ANY ($1::bigint[])"

_PARK: Final = (
    "UPDATE outbox_messages SET parked_at = clock_timestamp(), last_error = $2, attempts = attempts + 1 WHERE id = $1"
)

_NOTE_FAILURE: Final = "UPDATE outbox_messages SET last_error = $2, attempts = attempts + 1 WHERE id = $1"

_WAIT_FOR_SHARD: Final = f"SELECT pg_advisory_xact_lock({_LOCK_NAMESPACE}, $1)"

_SELECT_RECENT: Final = f"""
SELECT {_COLUMNS}, m.in_window > $3 AS is_cut
FROM (
    SELECT
        m.*,
        row_number() OVER (PARTITION BY m.channel ORDER BY m.id DESC) AS from_newest,
        count(*) OVER (PARTITION BY m.channel) AS in_window
    FROM outbox_messages AS m
    WHERE m.shard = $1::smallint AND m.published_at >= $2
) AS m
WHERE m.from_newest <= $3
ORDER BY m.id
"""  # noqa: S608

_REPLAY_START: Final = """
SELECT greatest(max(published_at) - $1::interval, clock_timestamp() - $2::interval) FROM outbox_messages
WHERE published_at IS NOT NULL
"""

_PRUNE: Final = """
DELETE FROM outbox_messages WHERE id = ANY (ARRAY (
    SELECT id FROM outbox_messages WHERE published_at < clock_timestamp() - $1::interval
    ORDER BY published_at LIMIT $2
))
"""

_LAG: Final = f"""
SELECT
    (SELECT count(*) FROM outbox_messages AS m WHERE {_PENDING}) AS depth,
    (SELECT extract(epoch FROM clock_timestamp() - min(m.created_at)) FROM outbox_messages AS m WHERE {_PENDING})
        AS oldest_seconds,
    (SELECT count(*) FROM outbox_messages AS m WHERE m.parked_at IS NOT NULL) AS parked
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Row:
    """One outbox row as a relay reads it; `payload` is JSON text."""

    id: int
    event_id: uuid.UUID
    channel: str
    event_name: str
    payload: str
    except_socket_id: str | None
    request_id: str | None
    traceparent: str | None
    created_at: dt.datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a try for the locks brought: `pending` shards have rows, `locked` are ours until the transaction ends."""

    pending: int
    locked: Sequence[int]


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the relay is behind. `parked` rows wait for an operator."""

    depth: int
    oldest_seconds: float
    parked: int


async def lock_shards(connection: Connection, *, except_channels: Sequence[str], limit: int) -> Claim:
    """Lock up to `limit` shards that have pending rows, leaving out those that another relay works on."""
    record = await connection.fetchrow(_LOCK_SHARDS, except_channels, limit)
    if record is None:  # an aggregate always answers with one row
        return Claim(0, ())
    return Claim(record["pending"], record["locked"])


async def select_pending(
    connection: Connection, *, shards: Sequence[int], except_channels: Sequence[str], limit: int
) -> list[Row]:
    """Up to `limit` pending rows, fairly from all `shards`, in the order of their ids."""
    share = -(-limit // len(shards))
    records = await connection.fetch(_SELECT_PENDING, shards, except_channels, share)
    return [Row(*record) for record in records]


async def mark_published(connection: Connection, ids: Sequence[int]) -> None:
    """Redis has these rows."""
    await connection.execute(_MARK_PUBLISHED, ids)


async def park(connection: Connection, row_id: int, reason: str) -> None:
    """Set a row aside for an operator."""
    await connection.execute(_PARK, row_id, reason)


async def note_failure(connection: Connection, row_id: int, reason: str) -> None:
    """Count a failed attempt; the row stays pending."""
    await connection.execute(_NOTE_FAILURE, row_id, reason)


async def wait_for_shard(connection: Connection, shard: int) -> None:
    """Lock one shard, waiting for whoever has it."""
    await connection.execute(_WAIT_FOR_SHARD, shard)


async def replay_start(connection: Connection, *, window: dt.timedelta, reach: dt.timedelta) -> dt.datetime:
    """From when on published rows are to be repeated: `window` before the last one, at most `reach` ago."""
    start: dt.datetime = await connection.fetchval(_REPLAY_START, window, reach)
    return start


async def select_recent(
    connection: Connection, *, shard: int, since: dt.datetime, limit: int
) -> tuple[list[Row], set[str]]:
    """The shard's rows published at `since` or later, in id order: for each channel the newest `limit`.

    Second: the channels that have more.
    """
    records = await connection.fetch(_SELECT_RECENT, shard, since, limit)
    return [Row(*record[:-1]) for record in records], {record["channel"] for record in records if record["is_cut"]}


async def prune(pool: RecordPool, *, keep: dt.timedelta, limit: int) -> int:
    """Delete up to `limit` rows published longer than `keep` ago; returns how many. Parked rows stay."""
    status = await pool.execute(_PRUNE, keep, limit)
    return int(status.rpartition(" ")[2])


async def read_lag(pool: RecordPool) -> Lag:
    """Depth, age of the oldest pending row, parked rows."""
    record = await pool.fetchrow(_LAG)
    if record is None:  # an aggregate always answers with one row
        return Lag(0, 0.0, 0)
    return Lag(record["depth"], float(record["oldest_seconds"] or 0.0), record["parked"])
