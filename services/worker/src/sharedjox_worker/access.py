"""Live access: control rows of the outbox become commands to the gateways.

Every (socket, channel) that the api authorized stands in the channel's grants before the rule was checked, so a change
that commits afterwards finds it. Each row is answered from the state as it is now: a repeat does no harm.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from prometheus_client import CollectorRegistry, Counter
from redis.asyncio import Redis
from sharedjox_contracts.control import AccessChanged, Close, Command, SessionRevoked, Unsubscribe, open_command
from sharedjox_contracts.events import Payload
from sharedjox_contracts.publication import publish_keys
from sharedjox_contracts.redis_layout import (
    CONTROL_CHANNEL,
    CONTROL_LIMITS,
    DENIAL_SECONDS,
    MAX_EVENTS_PER_CALL,
    PUBLISH_MANY_SCRIPT,
    denied_key,
    grants_key,
    session_sockets_key,
)
from sharedjox_kit.clock import unix_ms
from sharedjox_kit.logs import get_logger
from sharedjox_outbox.claims import Row

log = get_logger(__name__)

WhoMayStay = Callable[[str, set[int]], Awaitable[frozenset[int]]]
"""Given a channel and user ids: those who may be on it now."""

SESSION_REVOKED_CODE: Final = 4009
"""Pusher's "connection is unauthorized": clients do not come back by themselves."""

_SETTLED_SECONDS: Final = 3.0
_MEMBERS_PER_CALL: Final = 500
# Only what was not granted anew in the meantime: that grant must be found by the next change.
_FORGET_GRANTS: Final = """
local removed = 0
for n = 2, #ARGV do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[n])
  if score and tonumber(score) < tonumber(ARGV[1]) then
    removed = removed + redis.call('ZREM', KEYS[1], ARGV[n])
  end
end
return removed
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """One authorization; `member` and `score` as they stand in Redis."""

    member: bytes
    score: float
    socket_id: str
    user_id: int

    @classmethod
    def parse(cls, member: bytes, score: float) -> Grant | None:
        """None for a member of another form."""
        socket_id, _, rest = member.decode("utf-8", "replace").partition("|")
        user_id = rest.partition("|")[0]
        return cls(member, score, socket_id, int(user_id)) if user_id.isdecimal() and user_id.isascii() else None


class AccessControl:
    """Carries out control rows."""

    def __init__(self, redis: Redis, *, app_id: str, who_may_stay: WhoMayStay, registry: CollectorRegistry) -> None:
        self._redis = redis
        self._app_id = app_id
        self._who_may_stay = who_may_stay
        self._publish = redis.register_script(PUBLISH_MANY_SCRIPT)
        self._commands = Counter(
            "sharedjox_worker_access_commands_total",
            "Commands sent to gateways because somebody lost a right.",
            ("command",),
            registry=registry,
        )

    async def __call__(self, _row: Row, payload: Payload) -> None:
        """Handle one row. Raises: what Redis or Postgres raise; the row is then tried again."""
        await self.carry_out(payload)

    async def carry_out(self, payload: Payload) -> None:
        """Turn a control payload into commands."""
        match payload:
            case AccessChanged(channel=channel):
                await self._recheck(channel)
            case SessionRevoked(session_id=session_id):
                await self._close_session(session_id)
            case _:
                msg = f"no control payload: {payload!r}"
                raise TypeError(msg)

    async def _recheck(self, channel: str) -> None:
        key = grants_key(self._app_id, channel)
        entries = await self._redis.zrange(key, 0, -1, withscores=True)
        grants = [grant for member, score in entries if (grant := Grant.parse(member, score)) is not None]
        if not grants:
            return
        staying = await self._who_may_stay(channel, {grant.user_id for grant in grants})
        lost = [grant for grant in grants if grant.user_id not in staying]
        await self._deny(channel, lost)
        await self._send([Unsubscribe(socket_id=grant.socket_id, channel=channel) for grant in lost])
        await self._forget(key, lost)
        log.info("access.rechecked", channel=channel, grants=len(grants), lost=len(lost))

    async def _forget(self, key: str, lost: Sequence[Grant]) -> None:
        """Remove grants that are settled. Those of the last seconds stay: their score would not tell a new one."""
        before = time.time() - _SETTLED_SECONDS
        members = [grant.member for grant in lost if grant.score < before]
        for start in range(0, len(members), _MEMBERS_PER_CALL):
            chunk = cast("list[str]", members[start : start + _MEMBERS_PER_CALL])
            await cast("Awaitable[int]", self._redis.eval(_FORGET_GRANTS, 1, key, str(before), *chunk))

    async def _deny(self, channel: str, lost: Iterable[Grant]) -> None:
        """Mark the denials before the gateways hear of them: they ask for the mark when the socket comes back."""
        pipeline = self._redis.pipeline(transaction=False)
        for grant in lost:
            pipeline.set(denied_key(self._app_id, channel, grant.socket_id), secrets.token_hex(8), ex=DENIAL_SECONDS)
        await pipeline.execute()

    async def _close_session(self, session_id: str) -> None:
        key = session_sockets_key(self._app_id, session_id)
        sockets = await cast("Awaitable[set[bytes]]", self._redis.smembers(key))
        await self._send(
            [
                Close(socket_id=socket.decode(), code=SESSION_REVOKED_CODE, reason="session revoked")
                for socket in sorted(sockets)
            ]
        )
        log.info("access.session_revoked", session_id=session_id, sockets=len(sockets))

    async def _send(self, commands: Sequence[Command]) -> None:
        """Publish commands in order. What was sent before an error is sent again by the next attempt: no harm."""
        keys = publish_keys(self._app_id, CONTROL_CHANNEL)
        for start in range(0, len(commands), MAX_EVENTS_PER_CALL):
            chunk = commands[start : start + MAX_EVENTS_PER_CALL]
            arguments: list[bytes | str | int] = [
                secrets.token_hex(6),
                unix_ms(),
                CONTROL_LIMITS.length,
                CONTROL_LIMITS.age_seconds * 1000,
                CONTROL_LIMITS.meta_seconds * 1000,
                0,
            ]
            for command in chunk:
                arguments += open_command(command, secrets.token_hex(12))
            await self._publish(keys, arguments)
            for command in chunk:
                self._commands.labels(type(command).__name__.lower()).inc()
