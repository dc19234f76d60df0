"""What operators do with parked rows: look at them, put them back, or take them away for good."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .claims import RecordPool

_COLUMNS: Final = "id, channel, event_name, created_at, parked_at, attempts, last_error, payload"
_PARKED: Final = "parked_at IS NOT NULL AND ($1::bigint[] IS NULL OR id = ANY ($1))"
_LIST: Final = f"SELECT {_COLUMNS} FROM outbox_messages WHERE {_PARKED} ORDER BY id LIMIT $2"  # noqa: S608 - constants
_REPLAY: Final = (
    "UPDATE outbox_messages SET parked_at = NULL, attempts = 0, last_error = NULL"  # noqa: S608
    f" WHERE {_PARKED} RETURNING id"
)
_DISCARD: Final = f"DELETE FROM outbox_messages WHERE {_PARKED} RETURNING {_COLUMNS}"  # noqa: S608


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """An event that could not be published. `payload` is JSON text."""

    id: int
    channel: str
    event_name: str
    created_at: dt.datetime
    parked_at: dt.datetime
    attempts: int
    last_error: str
    payload: str


async def list_parked(pool: RecordPool, ids: Sequence[int] | None = None, *, limit: int = 100) -> list[ParkedRow]:
    """Up to `limit` parked rows in id order; with `ids` only those."""
    return [ParkedRow(*record) for record in await pool.fetch(_LIST, ids, limit)]


async def replay_parked(pool: RecordPool, ids: Sequence[int] | None = None) -> list[int]:
    """Make parked rows pending again; returns which. They get their place after what was published meanwhile."""
    return sorted(record["id"] for record in await pool.fetch(_REPLAY, ids))


async def discard_parked(pool: RecordPool, ids: Sequence[int]) -> list[ParkedRow]:
    """Delete parked rows for good; returns what they were."""
    return sorted((ParkedRow(*record) for record in await pool.fetch(_DISCARD, ids)), key=lambda row: row.id)
