"""What every process tells operators about itself: who it is, which version, with which settings, what its clock says.

Each process writes its report every few seconds; `sharedjox doctor` and `sharedjox connections` read them. Nothing
depends on them but operators: while Redis is away they are lost, and they are old by then.

| name | type | holds |
|---|---|---|
| `sj:{processes}:reports` | hash | id -> `<Redis' Unix milliseconds> <report>` |
| `sj:{processes}:seen` | sorted set | id, score = Redis' Unix milliseconds; what is an hour old is forgotten |
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from .clock import unix_ms
from .ending import end_tasks

REPORTS_KEY: Final = "sj:{processes}:reports"
SEEN_KEY: Final = "sj:{processes}:seen"
REPORT_EVERY_SECONDS: Final = 2.0
STALE_AFTER_MS: Final = 15_000
_FORGET_AFTER_MS: Final = 3_600_000
_FINGERPRINT_LENGTH: Final = 12

REPORT_SCRIPT: Final = f"""
-- Write a report beside Redis' own time. KEYS: reports, seen. ARGV: id, report.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - {_FORGET_AFTER_MS})) do
  redis.call('HDEL', KEYS[1], old)
  redis.call('ZREM', KEYS[2], old)
end
return 1
"""


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One process. `settings` are those that must be alike in all processes that name them; secrets as fingerprints.

    `apps`: id -> [key, fingerprint, …]. A gateway lists every secret it accepts; others the one they sign with.
    `state`: counts of the moment, as each service finds useful. Times in Unix milliseconds by the process's own clock.
    """

    service: str
    id: str
    version: str
    started_ms: int
    at_ms: int
    settings: Mapping[str, str] = field(default_factory=dict)
    apps: Mapping[str, Sequence[str]] = field(default_factory=dict)
    state: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """As written into Redis."""
        return orjson.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class SeenReport:
    """A report and when it was written by Redis' clock, in Unix milliseconds."""

    report: ProcessReport
    redis_ms: int

    @property
    def skew_ms(self) -> int:
        """How far the process's clock is ahead of Redis', the way to Redis included."""
        return self.report.at_ms - self.redis_ms


def process_id() -> str:
    """A name of this life of this process: where it runs, and something that no other life has."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


def fingerprint(secret: str) -> str:
    """Tells two secrets apart without showing either: 48 bits of a keyed hash."""
    return hmac.digest(secret.encode(), b"sharedjox fingerprint", hashlib.sha256).hex()[:_FINGERPRINT_LENGTH]


@contextlib.asynccontextmanager
async def reporting(redis: Redis, report: Callable[[], ProcessReport]) -> AsyncIterator[None]:
    """Report every few seconds while inside; the report is taken away on leaving. Outages are sat out silently."""
    writing = asyncio.create_task(_keep_reporting(redis, report), name="reports")
    try:
        yield
    finally:
        await end_tasks(writing)
        name = report().id
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await redis.hdel(REPORTS_KEY, name)  # type: ignore[misc]  # sync and async share stubs
                await redis.zrem(SEEN_KEY, name)


async def _keep_reporting(redis: Redis, report: Callable[[], ProcessReport]) -> None:
    while True:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            now = report()
            await redis.eval(REPORT_SCRIPT, 2, REPORTS_KEY, SEEN_KEY, now.id, now.to_json())  # type: ignore[misc,arg-type]
        await asyncio.sleep(REPORT_EVERY_SECONDS)


async def read_reports(redis: Redis) -> list[SeenReport]:
    """The processes that live, by service and id. Raises: RedisError, OSError."""
    seconds, microseconds = await redis.time()
    oldest = int(seconds) * 1000 + int(microseconds) // 1000 - STALE_AFTER_MS
    written: Mapping[bytes, bytes] = await redis.hgetall(REPORTS_KEY)  # type: ignore[misc]  # sync and async share stubs
    found = []
    for value in written.values():
        at, _, text = value.partition(b" ")
        with contextlib.suppress(ValueError, TypeError):  # of another version
            found.append(SeenReport(ProcessReport(**orjson.loads(text)), int(at)))
    living = [one for one in found if one.redis_ms >= oldest]
    return sorted(living, key=lambda one: (one.report.service, one.report.id))


def own_report(
    service: str,
    version: str,
    *,
    settings: Mapping[str, str],
    apps: Mapping[str, Sequence[str]],
    state: Callable[[], Mapping[str, int]] = dict,
) -> Callable[[], ProcessReport]:
    """What makes this process's reports; its id and its start are those of this call."""
    name, started_ms = process_id(), unix_ms()

    def make() -> ProcessReport:
        return ProcessReport(service, name, version, started_ms, unix_ms(), settings, apps, state())

    return make
