import asyncpg
import pytest
from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sharedjox_outbox.decisions import (
    MAX_ROW_ATTEMPTS,
    Backoff,
    Park,
    RetryChannel,
    RetryWholeRelay,
    UnpublishableRowError,
    decide,
)

OUTAGES = [
    RedisConnectionError("gone"),
    RedisTimeoutError("slow"),
    BusyLoadingError("loading"),
    ReadOnlyError("replica"),
    OutOfMemoryError("full"),
    NoPermissionError("acl"),
    ResponseError("MISCONF Redis is configured to save"),
    ResponseError("NOREPLICAS Not enough good replicas"),
    ResponseError("MASTERDOWN Link with MASTER is down"),
    ResponseError("BUSY Redis is busy running a script"),
    ResponseError("OOM command not allowed when used memory > 'maxmemory'."),
    OSError(111, "refused"),
    TimeoutError(),
    asyncpg.ConnectionDoesNotExistError("closed"),
    asyncpg.InterfaceError("closed"),
    asyncpg.AdminShutdownError("shutdown"),
    asyncpg.TooManyConnectionsError("full"),
]


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: f"{type(error).__name__}-{error}"[:40])
@pytest.mark.parametrize("attempts", [0, 1000])
def test_outages_never_park_a_row(error: Exception, attempts: int) -> None:
    assert isinstance(decide(error, attempts=attempts), RetryWholeRelay)


def test_bad_content_parks_at_once() -> None:
    assert decide(UnpublishableRowError("unknown event"), attempts=0) == Park("UnpublishableRowError: unknown event")


def test_what_nobody_understands_is_tried_a_few_times() -> None:
    error = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    decisions = [decide(error, attempts=attempts) for attempts in range(MAX_ROW_ATTEMPTS)]
    assert all(isinstance(decision, RetryChannel) for decision in decisions[:-1])
    assert isinstance(decisions[-1], Park)


def test_reasons_are_bounded() -> None:
    decision = decide(UnpublishableRowError("x" * 10_000), attempts=0)
    assert len(decision.reason) <= 500


def test_backoff_grows_is_jittered_never_zero_and_starts_over() -> None:
    backoff = Backoff(base_seconds=0.1, cap_seconds=2.0)
    delays = [backoff.next_delay() for _ in range(40)]
    for number, delay in enumerate(delays):
        ceiling = min(2.0, 0.1 * 2**number)
        assert ceiling / 2 <= delay <= ceiling
    assert len(set(delays)) > 30
    backoff.reset()
    assert backoff.next_delay() <= 0.1
