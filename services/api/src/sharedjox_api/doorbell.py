"""Telling the worker that the outbox has something: arq enqueue plus a wake-up, in the background.

The bell only saves time. Rings that come while one is under way become one more; a ring that fails is tried again until
Redis is back, and the worker's sweep would find the rows even then. Nothing here reaches a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from arq.connections import ArqRedis
from prometheus_client import CollectorRegistry, Counter, Histogram
from sharedjox_kit.logs import get_logger
from sharedjox_kit.redis import create_pool
from sharedjox_kit.tasks import QUEUE_NAME, RELAY_TASK, WAKE_TOPIC, deserialize_task, serialize_task

_log = get_logger(__name__)

QUIET_SECONDS: Final = 0.002
"""Least time between two rings: under load one ring serves many commits, and the worker is not run over by tasks."""
TASK_EXPIRES_SECONDS: Final = 60
"""A ring that nobody heard for a minute is worthless: by then the sweep has done its work."""
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0
TASK_EVERY_SECONDS: Final = 0.02
CLOSE_SECONDS: Final = 2.0


def create_arq(redis_url: str) -> ArqRedis:
    """An arq client that connects on first use, so that the api starts while Redis is away."""
    pool = create_pool(redis_url, socket_timeout=2.0, socket_connect_timeout=2.0, max_connections=8)
    return ArqRedis(
        pool,
        job_serializer=serialize_task,
        job_deserializer=deserialize_task,
        default_queue_name=QUEUE_NAME,
    )


class Doorbell:
    """Rings arq after commits. `ring` returns at once; the ringing happens in a background task."""

    def __init__(self, arq: ArqRedis, registry: CollectorRegistry) -> None:
        self._arq = arq
        self._wake = asyncio.Event()
        self._is_wanted = False
        self._is_closing = False
        self._is_busy = False
        self._owes_task = False
        self._next_task_at = 0.0
        self._since = 0.0
        self._rings = Counter("sharedjox_api_doorbell_rings_total", "Rings by outcome.", ["outcome"], registry=registry)
        self._seconds = Histogram(
            "sharedjox_api_doorbell_seconds",
            "From the first commit that wanted a ring to the ring done.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5, 5.0),
            registry=registry,
        )

    @property
    def is_ringing(self) -> bool:
        """Whether a ring is wanted and not done yet."""
        return self._is_wanted or self._is_busy or self._owes_task

    def ring(self) -> None:
        """Something was committed. Never waits, never fails."""
        if not self._is_wanted:
            self._is_wanted = True
            self._since = time.perf_counter()
            self._wake.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ring whenever wanted, for the length of the block; what is wanted at its end is tried once more."""
        task = asyncio.create_task(self._run(), name="doorbell")
        try:
            yield
        finally:
            self._is_closing = True
            self._wake.set()
            _, unfinished = await asyncio.wait({task}, timeout=CLOSE_SECONDS)
            for late in unfinished:
                late.cancel()
            await self._arq.aclose()
            await self._arq.connection_pool.disconnect()  # a client does not close a pool that it was given

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self._is_wanted or not self._is_closing:
            if not self._is_wanted and not await self._woken():
                continue
            try:
                await self._ring_once()
            except Exception as error:  # noqa: BLE001 - whatever it was, the bell has to ring again: uvloop has RuntimeErrors
                self._rings.labels("failed").inc()
                _log.warning("doorbell.failed", error=repr(error), retry_seconds=pause)
                if self._is_closing:
                    return
                self._is_wanted = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                pause = FIRST_PAUSE_SECONDS
                await asyncio.sleep(QUIET_SECONDS)

    async def _woken(self) -> bool:
        """Wait until there is something to do: a ring is wanted, or a task is owed and may be enqueued now."""
        due_in = max(0.0, self._next_task_at - time.monotonic()) if self._owes_task else None
        try:
            async with asyncio.timeout(due_in):
                await self._wake.wait()
        except TimeoutError:
            return True
        self._wake.clear()
        return self._is_wanted

    async def _ring_once(self) -> None:
        is_ring, since = self._is_wanted, self._since
        self._is_wanted, self._is_busy = False, True
        try:
            # The wake-up first: a worker that hears it relays at once. The task, three round trips later, is for the
            # case that nobody heard it; under load one serves many rings.
            if is_ring:
                self._owes_task = True
                await self._arq.publish(WAKE_TOPIC, b"1")
            if self._owes_task and time.monotonic() >= self._next_task_at:
                await self._arq.enqueue_job(RELAY_TASK, _expires=TASK_EXPIRES_SECONDS)
                self._owes_task, self._next_task_at = False, time.monotonic() + TASK_EVERY_SECONDS
        finally:
            self._is_busy = False
        if is_ring:
            self._rings.labels("rung").inc()
            self._seconds.observe(time.perf_counter() - since)
