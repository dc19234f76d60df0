"""Rate limits in Redis, shared by all api processes. When Redis is away nobody is limited."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sharedjox_kit.logs import get_logger

from .errors import RateLimitedProblem

_log = get_logger(__name__)

WINDOW_SECONDS: Final = 60
_KEY_PREFIX: Final = "sj:rate"
_PAUSE_WHEN_AWAY_SECONDS: Final = 1.0


class RateLimiter:
    """Counts calls in windows of a minute, weighting the last window by how much of it still overlaps."""

    def __init__(self, redis: Redis, registry: CollectorRegistry) -> None:
        self._redis = redis
        self._away_until = 0.0
        self._refused = Counter(
            "sharedjox_api_rate_limited_total", "Requests refused by a rate limit.", ["limit"], registry=registry
        )

    async def check(self, name: str, subject: str, per_minute: int) -> None:
        """Count one call of `subject`. Raises: RateLimitedProblem. `per_minute` 0 means no limit."""
        if per_minute == 0 or time.monotonic() < self._away_until:
            return
        now = time.time()
        window, elapsed = divmod(now, WINDOW_SECONDS)
        current, previous = (f"{_KEY_PREFIX}:{name}:{subject}:{int(window) - back}" for back in (0, 1))
        try:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.incr(current)
            pipeline.expire(current, 2 * WINDOW_SECONDS)
            pipeline.get(previous)
            count, _, before = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + _PAUSE_WHEN_AWAY_SECONDS
            _log.warning("rate_limit.redis_away", error=repr(error))
            return
        weighted = count + int(before or 0) * (1 - elapsed / WINDOW_SECONDS)
        if weighted > per_minute:
            self._refused.labels(name).inc()
            seconds = max(1, round(WINDOW_SECONDS - elapsed))
            raise RateLimitedProblem("too many requests; slow down", headers={"Retry-After": str(seconds)})
