"""What to do after a failure, as a value: try again (when), or give up (why)."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final

import asyncpg
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

MAX_ROW_ATTEMPTS: Final = 8
"""How often a row may fail for a reason that is neither a known outage nor its own content."""

_OUTAGES: Final = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    MaxConnectionsError,
    AuthenticationError,
    NoPermissionError,
    ClusterError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
)
# redis-py has no class of its own for these answers.
_OUTAGE_ANSWERS: Final = (
    *("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED ", "ASK "),
    *("BUSY", "UNKILLABLE", "OOM"),
)


@dataclass(frozen=True, slots=True)
class RetryWholeRelay:
    """A server is away or refuses to write: everything waits. `reason` labels the metric."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryChannel:
    """Something is wrong with this channel alone: it waits, the others go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """This row can never be published: it is set aside and its channel goes on without it."""

    reason: str


Decision = RetryWholeRelay | RetryChannel | Park


class UnpublishableRowError(ValueError):
    """The row's content can not become an event: unknown name, payload of another shape, too large."""


def decide(error: BaseException, *, attempts: int) -> Decision:
    """What to do about `error`. `attempts` is how often the row failed before, outages not counted."""
    reason = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, UnpublishableRowError):
        return Park(reason)
    if is_outage(error):
        return RetryWholeRelay(reason)
    if attempts + 1 >= MAX_ROW_ATTEMPTS:
        return Park(reason)
    return RetryChannel(reason)


def is_outage(error: BaseException) -> bool:
    """Whether a server is away, starting, read-only or full, so that trying again later is all there is to do."""
    if isinstance(error, _OUTAGES):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_OUTAGE_ANSWERS)


@dataclass(slots=True)
class Backoff:
    """Exponential delays with full jitter, so that workers which failed together do not come back together."""

    base_seconds: float = 0.05
    cap_seconds: float = 2.0
    _failures: int = field(default=0, init=False)

    def next_delay(self) -> float:
        """Seconds to wait after one more failure: never zero, so a loop cannot spin."""
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - jitter, not a secret

    def reset(self) -> None:
        """After a success."""
        self._failures = 0
