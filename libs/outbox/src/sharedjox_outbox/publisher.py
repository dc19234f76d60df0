"""Publishing to Redis: many calls of the publish script in one round trip."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError
from sharedjox_contracts.publication import encode_header, publish_keys
from sharedjox_contracts.redis_layout import PUBLISH_MANY_SCRIPT, SHARDED_PUBLISH_MANY_SCRIPT
from sharedjox_kit.clock import unix_ms

from .preparation import EventStep, Step

_MARK: Final = "\n-- loaded by a relay once the history has been made good\n"


class HistoryInDoubtError(Exception):
    """Redis has been restarted, or a replica took over: it may have lost what it had confirmed."""

    def __init__(self) -> None:
        super().__init__("Redis was restarted; recent events are to be repeated first")


@dataclass(frozen=True, slots=True)
class StepPublished:
    """Redis has all events of a step; `repeats` of them it had before."""

    repeats: int


StepResult = StepPublished | Exception


class Publisher(Protocol):
    """What a relay publishes by: to one Redis, or to the nodes of a Cluster."""

    @property
    def is_divided(self) -> bool:
        """Whether an outage that a step met leaves other channels reachable."""
        ...

    @property
    def is_in_doubt(self) -> bool:
        """Whether history is to be made good although the last `publish` did not raise that."""
        ...

    def is_doubtful(self, step: Step) -> bool:
        """While history is made good: whether this step is to be repeated."""
        ...

    async def publish(self, steps: Sequence[EventStep], *, repeating: bool = False) -> list[StepResult]:
        """Publish each step, in one round trip; the answers are in the order of `steps` (different channels).

        Raises: HistoryInDoubtError when Redis does not know the relays' script; what the network raises.
        """
        ...

    async def begin_repeating(self) -> None:
        """Prepare to repeat what was published already."""
        ...

    async def is_history_trusted(self) -> bool:
        """Whether some relay has made the history good since Redis was restarted."""
        ...

    async def restart_history_unless_it_has(self, channel: str, event_id: str) -> bool:
        """Drop the channel's history, so that it begins anew with another epoch, unless `event_id` is in it."""
        ...

    async def trust_history(self) -> None:
        """From now on every relay publishes new events again."""
        ...

    async def aclose(self) -> None:
        """End what runs beside the relay."""
        ...


class EventPublisher:
    """Runs the publish script of one Redis. Redis itself tells when it may have forgotten something.

    Redis drops its scripts when it restarts or fails over, so a script that only relays load answers NOSCRIPT exactly
    then. They publish by that script, repeat recent events by the plain one (`repeating`), and load theirs afterwards.
    """

    is_divided: Final = False
    is_in_doubt: Final = False

    def __init__(self, redis: Redis, *, app_id: str, sharded: bool = False) -> None:
        self._redis = redis
        self._app_id = app_id
        self._plain_script = SHARDED_PUBLISH_MANY_SCRIPT if sharded else PUBLISH_MANY_SCRIPT
        self._relay_script = self._plain_script + _MARK
        self._relay_sha = _sha1(self._relay_script)
        self._plain_sha = _sha1(self._plain_script)

    def is_doubtful(self, _step: Step) -> bool:
        """See `Publisher.is_doubtful`: there is one history, and all of it is in doubt."""
        return True

    async def publish(self, steps: Sequence[EventStep], *, repeating: bool = False) -> list[StepResult]:
        """See `Publisher.publish`."""
        pipeline = self._redis.pipeline(transaction=False)
        sha = self._plain_sha if repeating else self._relay_sha
        now = unix_ms()
        for step in steps:
            keys = publish_keys(self._app_id, step.channel)
            pipeline.execute_command("EVALSHA", sha, len(keys), *keys, *_arguments(step, now))
        answers = await pipeline.execute(raise_on_error=False)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            raise HistoryInDoubtError
        return [_result(answer) for answer in answers]

    async def begin_repeating(self) -> None:
        """Load the plain script."""
        await self._redis.script_load(self._plain_script)

    async def is_history_trusted(self) -> bool:
        """See `Publisher.is_history_trusted`."""
        (known,) = await self._redis.script_exists(self._relay_sha)
        return bool(known)

    async def restart_history_unless_it_has(self, channel: str, event_id: str) -> bool:
        """See `Publisher.restart_history_unless_it_has`."""
        _, meta, _, _ = keys = publish_keys(self._app_id, channel)
        if await cast("Awaitable[bool]", self._redis.hexists(meta, f"i:{event_id}")):
            return False
        await self._redis.delete(keys[0], meta)
        return True

    async def trust_history(self) -> None:
        """Load the relays' script: from now on every relay publishes new events again."""
        await self._redis.script_load(self._relay_script)

    async def aclose(self) -> None:
        """See `Publisher.aclose`: nothing does."""


def _sha1(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _arguments(step: EventStep, now_ms: int) -> list[bytes | str | int]:
    limits = step.limits
    arguments: list[bytes | str | int] = [
        secrets.token_hex(6),
        now_ms,
        limits.length,
        limits.age_seconds * 1000,
        limits.meta_seconds * 1000,
        step.cache_ms,
    ]
    for event in step.events:
        arguments += (event.header.event_id, event.opened_frame, encode_header(event.header))
    return arguments


def _result(answer: object) -> StepResult:
    if isinstance(answer, RedisError):
        return answer
    if not isinstance(answer, list):
        return RedisError(f"unexpected answer of the publish script: {answer!r}")
    return StepPublished(sum(offset < 0 for offset in answer[1:]))
