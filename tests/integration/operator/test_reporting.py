"""A process that is stopped at any moment of its first report ends, and leaves no report behind."""

from __future__ import annotations

import asyncio

import pytest
from sharedjox_kit.processes import REPORTS_KEY, own_report, reporting
from sharedjox_kit.redis import create_redis

from tests.support.polling import scaled


@pytest.mark.parametrize("turns", [1, 12, 24, 30, 36, 42, 50])
async def test_leaving_while_the_first_report_is_under_way(redis_url: str, turns: int) -> None:
    """Of the loop. Between connecting and sending Python 3.11 may lose a cancellation."""
    redis = create_redis(redis_url, retries=0, timeout_seconds=2.0)
    report = own_report("api", "1", settings={}, apps={})
    async with asyncio.timeout(scaled(10)):
        async with reporting(redis, report):
            for _ in range(turns):
                await asyncio.sleep(0)
        assert not await redis.hexists(REPORTS_KEY, report().id)  # type: ignore[misc]  # sync and async share stubs
    await redis.aclose()
