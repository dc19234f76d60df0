"""One relay as a process of its own, for scale.py.

It says when it is connected, works on the word, and prints what it used: processor seconds, seconds.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

import structlog
import uvloop
from prometheus_client import CollectorRegistry
from sharedjox_kit.redis import create_redis
from sharedjox_outbox.build import build_relay
from sharedjox_outbox.metrics import RelayMetrics
from sharedjox_outbox.postgres import create_relay_pool

from .relay import APP, drain, no_control


async def main(database_url: str, redis_url: str) -> None:
    """Drain the outbox together with whoever else does."""
    pool = await create_relay_pool(database_url)
    redis = create_redis(redis_url, retries=0)
    metrics = RelayMetrics(CollectorRegistry())
    relay = build_relay(pool=pool, redis=redis, app_id=APP, metrics=metrics, on_control=no_control)
    async with pool.acquire() as connection:
        await connection.execute("SELECT 1")
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    processor, wall = time.process_time(), time.perf_counter()
    await drain(relay)
    sys.stdout.write(f"{time.process_time() - processor} {time.perf_counter() - wall}\n")
    await pool.close()
    await redis.aclose()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    uvloop.run(main(sys.argv[1], sys.argv[2]))
