"""Redis clients that outlive a restart, and a failover where Sentinel watches over Redis."""

from __future__ import annotations

from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis_address import parse_redis_url

RETRIED = (RedisConnectionError, RedisTimeoutError, OSError)
"""Errors that mean "Redis is away": asyncio raises OSError itself when the port is closed."""


def create_pool(url: str, **options: Any) -> ConnectionPool:
    """Connections to the Redis of `url`, or to the one that its Sentinels name at the moment of connecting.

    `options` are those of redis-py's connections. Nothing connects before the first command. A connection to a master
    that has become a replica fails as if Redis were away, so its user tries again and gets the new one.
    """
    address = parse_redis_url(url)
    if not address.sentinels:
        return ConnectionPool.from_url(url, **options)
    asking = {
        "username": address.sentinel_username or None,
        "password": address.sentinel_password or None,
        "socket_timeout": 1.0,
        "socket_connect_timeout": 1.0,
    }
    sentinel = Sentinel(address.sentinels, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        address.master,
        sentinel,
        username=address.username or None,
        password=address.password or None,
        db=address.database,
        ssl=address.use_tls,
        **options,
    )


def create_redis(url: str, *, retries: int = 2, timeout_seconds: float = 5.0, max_connections: int = 100) -> Redis:
    """A client for `url`; commands are retried `retries` times with a short backoff while Redis is away.

    Answers are bytes. Nothing connects before the first command. The caller closes it with `aclose()`.
    """
    pool = create_pool(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        health_check_interval=30,
        max_connections=max_connections,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
        retry_on_error=list(RETRIED),
    )
    client: Redis = Redis.from_pool(pool)
    return client
