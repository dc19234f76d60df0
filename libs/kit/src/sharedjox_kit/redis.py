"""Redis clients that outlive a Redis restart."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

RETRIED = (RedisConnectionError, RedisTimeoutError, OSError)
"""Errors that mean "Redis is away": asyncio raises OSError itself when the port is closed."""


def create_redis(url: str, *, retries: int = 2, timeout_seconds: float = 5.0, max_connections: int = 100) -> Redis:
    """A client for `url`; commands are retried `retries` times with a short backoff while Redis is away.

    Answers are bytes. Nothing connects before the first command. The caller closes it with `aclose()`.
    """
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        health_check_interval=30,
        max_connections=max_connections,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
        retry_on_error=list(RETRIED),
    )
    return client
