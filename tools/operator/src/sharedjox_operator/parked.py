"""`sharedjox parked`: events that could not be published and wait for an operator."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sharedjox_kit.tasks import WAKE_TOPIC
from sharedjox_outbox.claims import RecordPool
from sharedjox_outbox.parked import ParkedRow, discard_parked, list_parked, replay_parked

from .errors import OperatorError
from .tables import table


async def show_parked(pool: RecordPool, *, limit: int, as_json: bool) -> str:
    """The parked rows: a table, or a JSON object a line with the payloads."""
    rows = await list_parked(pool, limit=limit)
    if as_json:
        return "\n".join(map(as_json_line, rows))
    if not rows:
        return "nothing is parked"
    return table(
        ["id", "channel", "event", "parked at", "reason"],
        [[row.id, row.channel, row.event_name, f"{row.parked_at:%Y-%m-%d %H:%M:%S}", row.last_error] for row in rows],
    )


async def replay(pool: RecordPool, redis: Redis, ids: Sequence[int] | None) -> str:
    """Put rows back (all without `ids`) and wake the worker. Raises: OperatorError for ids that are not parked."""
    await _check(pool, ids)
    replayed = await replay_parked(pool, ids)
    # Without it the worker's sweep finds them, within a second of Redis' return.
    with contextlib.suppress(RedisError, OSError):
        await redis.publish(WAKE_TOPIC, b"")
    return f"{len(replayed)} events are pending again, after what their channels have published meanwhile"


async def discard(pool: RecordPool, ids: Sequence[int]) -> str:
    """Delete rows for good; what they were is the answer, a JSON object a line. Raises: OperatorError."""
    await _check(pool, ids)
    return "\n".join(map(as_json_line, await discard_parked(pool, ids)))


async def _check(pool: RecordPool, ids: Sequence[int] | None) -> None:
    if ids is None:
        return
    known = {row.id for row in await list_parked(pool, ids, limit=len(ids))}
    if missing := sorted(set(ids) - known):
        msg = f"not parked: {', '.join(map(str, missing))}; nothing was changed"
        raise OperatorError(msg)


def as_json_line(row: ParkedRow) -> str:
    """All of a row."""
    return json.dumps(
        {
            "id": row.id,
            "channel": row.channel,
            "event": row.event_name,
            "createdAt": row.created_at.isoformat(),
            "parkedAt": row.parked_at.isoformat(),
            "attempts": row.attempts,
            "reason": row.last_error,
            "payload": json.loads(row.payload),
        },
        ensure_ascii=False,
    )
