"""The webhook queue in Redis, as a sender sees it. Source of keys and scripts: `sharedjox_contracts.webhook_layout`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from sharedjox_contracts.webhook_layout import (
    ADVANCE_SCRIPT,
    RELEASE_HELD_SCRIPT,
    RELEASE_LOCK_SCRIPT,
    RENEW_LOCK_SCRIPT,
    cursors_key,
    held_key,
    queue_key,
    sender_key,
)
from sharedjox_contracts.webhooks import webhook_event_name

HELD_PER_CALL: Final = 200


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """One event. `json` is a member of a webhook's `events`; `created_ms` Unix milliseconds."""

    entry_id: str
    created_ms: int
    name: str
    json: bytes


class WebhookQueue:
    """The queue of one application. Raises: redis.RedisError, OSError while Redis is away."""

    def __init__(self, redis: Redis, app_id: str) -> None:
        self._redis = redis
        self._app_id = app_id
        self._advance = redis.register_script(ADVANCE_SCRIPT)
        self._release_held = redis.register_script(RELEASE_HELD_SCRIPT)
        self._renew_lock = redis.register_script(RENEW_LOCK_SCRIPT)
        self._release_lock = redis.register_script(RELEASE_LOCK_SCRIPT)

    async def cursor(self, endpoint: str) -> str:
        """The last entry that this endpoint is done with."""
        stored = await self._redis.hget(cursors_key(self._app_id), endpoint)  # type: ignore[misc]  # stub: not only a str
        return stored.decode() if stored else "0-0"

    async def read(self, after: str, count: int, *, block_ms: int) -> list[QueuedEvent]:
        """What follows an entry, oldest first; waits up to `block_ms` when there is nothing."""
        answer = await self._redis.xread({queue_key(self._app_id): after}, count=count, block=block_ms)
        entries = answer[0][1] if answer else []
        return [_queued(entry_id, fields) for entry_id, fields in entries]

    async def advance(self, endpoint: str, entry_id: str, holder: str, others: Iterable[str]) -> bool:
        """The endpoint is done with everything up to this entry; False when another worker serves it by now."""
        keys = [queue_key(self._app_id), cursors_key(self._app_id), sender_key(self._app_id, endpoint)]
        return bool(await self._advance(keys=keys, args=[holder, entry_id, endpoint, *others]))

    async def lock(self, endpoint: str, holder: str, milliseconds: int) -> bool:
        """Become, or stay, the one who serves an endpoint."""
        return bool(await self._renew_lock(keys=[sender_key(self._app_id, endpoint)], args=[holder, milliseconds]))

    async def unlock(self, endpoint: str, holder: str) -> None:
        """Let others serve it."""
        await self._release_lock(keys=[sender_key(self._app_id, endpoint)], args=[holder])

    async def release_held(self) -> float | None:
        """Queue the held events that are due; returns the seconds until the next one is, None when there is none."""
        keys: Sequence[str] = [queue_key(self._app_id), held_key(self._app_id)]
        count, microseconds = await self._release_held(keys=keys, args=[HELD_PER_CALL])
        if int(count) == HELD_PER_CALL:
            return 0.0
        return None if int(microseconds) < 0 else int(microseconds) / 1e6


def _queued(entry_id: bytes, fields: dict[bytes, bytes]) -> QueuedEvent:
    text = fields[b"e"]
    created_ms, _, _number = entry_id.decode().partition("-")
    return QueuedEvent(entry_id.decode(), int(created_ms), webhook_event_name(text), text)
