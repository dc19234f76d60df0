"""What was granted to whom, in Redis, so that it can be taken back from sockets that hold it.

A grant is written before the rule is checked and the name signed: a change of state that commits later finds it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sharedjox_contracts.redis_layout import (
    LIFT_DENIAL_SCRIPT,
    denied_key,
    granting_key,
    grants_key,
    session_sockets_key,
)

from sharedjox_api.http.errors import UnavailableProblem

_PAUSE_SECONDS: Final = 0.1


class Grants:
    """Records grants of one app. While Redis is away it waits a little, then refuses retryably.

    Grants older than `lifetime_seconds` are forgotten; no socket may live longer.
    """

    def __init__(self, redis: Redis, *, app_id: str, wait_seconds: float, lifetime_seconds: int) -> None:
        self._redis = redis
        self._app_id = app_id
        self._wait_seconds = wait_seconds
        self._lifetime_seconds = lifetime_seconds

    async def record(self, *, socket_id: str, user_id: int, session_id: str, channel: str | None) -> bytes | None:
        """Remember that this socket asked for `channel` (None: to sign in) with this session.

        Returns the denial that stands against it, to be lifted once the rule said yes.
        Raises: UnavailableProblem when Redis stays away: what cannot be taken back is not given.
        """
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                return await self._write(socket_id, user_id, session_id, channel)
            except (RedisError, OSError, TimeoutError) as error:
                if time.monotonic() >= deadline:
                    raise UnavailableProblem(
                        "channels cannot be joined just now; try again", headers={"Retry-After": "1"}
                    ) from error
            await asyncio.sleep(_PAUSE_SECONDS)

    async def lift(self, *, socket_id: str, channel: str, denial: bytes) -> None:
        """The rule says yes after an earlier no: the gateway may let this socket in again.

        A denial that came after `record` stays: what it was for has happened after the rule was checked.
        """
        key = denied_key(self._app_id, channel, socket_id)
        await cast("Awaitable[int]", self._redis.eval(LIFT_DENIAL_SCRIPT, 1, key, denial))  # type: ignore[arg-type]  # bytes are fine

    async def _write(self, socket_id: str, user_id: int, session_id: str, channel: str | None) -> bytes | None:
        now = int(time.time())
        pipeline = self._redis.pipeline(transaction=False)
        denial: bytes | None = None
        if channel is not None:
            key = grants_key(self._app_id, channel)
            pipeline.zadd(key, {f"{socket_id}|{user_id}|{session_id}": now})
            pipeline.zremrangebyscore(key, "-inf", now - self._lifetime_seconds)
            pipeline.expire(key, self._lifetime_seconds)
        pipeline.set(granting_key(self._app_id), 1, ex=self._lifetime_seconds)
        sockets = session_sockets_key(self._app_id, session_id)
        pipeline.sadd(sockets, socket_id)
        pipeline.expire(sockets, self._lifetime_seconds)
        if channel is not None:
            pipeline.get(denied_key(self._app_id, channel, socket_id))
        answers = await pipeline.execute()
        if channel is not None:
            denial = answers[-1]
        return denial
