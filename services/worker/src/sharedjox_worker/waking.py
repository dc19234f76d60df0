"""An arq worker that starts a task when somebody says so, not at the next poll.

arq looks into its queue every `poll_delay` (0.5 s by default): an event would wait a quarter of a second on average,
and polling faster costs CPU all day. Whoever enqueues also publishes on `WAKE_TOPIC`; the poll remains for lost
wake-ups.

Relies on arq's private `_poll_iteration`; tests/integration/worker hold the pinned version to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from arq.connections import ArqRedis
from arq.worker import Worker
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from sharedjox_kit.logs import get_logger
from sharedjox_kit.redis import RETRIED, create_pool
from sharedjox_kit.tasks import QUEUE_NAME, WAKE_TOPIC, deserialize_task, serialize_task

log = get_logger(__name__)

_SILENCE_SECONDS: Final = 5.0
"""A wake subscription this quiet is asked whether it still lives."""


def create_task_queue(redis_url: str, *, retries: int) -> ArqRedis:
    """The arq client of a worker. Commands are retried `retries` times, up to a second apart, while Redis is away.

    OSError is among the retried errors: asyncio raises it itself when the port is closed, and arq would die of it.
    """
    pool = create_pool(
        redis_url,
        socket_timeout=5.0,
        socket_connect_timeout=2.0,
        health_check_interval=30,
        retry_on_timeout=True,
        retry_on_error=list(RETRIED),
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries),
    )
    queue = ArqRedis(
        pool, job_serializer=serialize_task, job_deserializer=deserialize_task, default_queue_name=QUEUE_NAME
    )
    queue.auto_close_connection_pool = True  # nobody else has this pool; `aclose` closes it
    return queue


class WakingWorker(Worker):
    """arq's worker, waiting for `wake` instead of sleeping. Signals are its owner's business, not its own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, handle_signals=False, **options)
        self._woken = asyncio.Event()
        self._is_stopping = False

    def stop(self) -> None:
        """Take no more tasks and let `main` return."""
        self.allow_pick_jobs = False
        self._is_stopping = True
        self._woken.set()

    def wake(self) -> None:
        """Look into the queue now."""
        self._woken.set()

    async def main(self) -> None:
        """Poll on every wake-up, and every `poll_delay` without one, until `stop`."""
        self.ctx["redis"] = self.pool
        while not self._is_stopping:
            self._woken.clear()
            await self._poll_iteration()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.poll_delay_s):
                    await self._woken.wait()

    def _release_sem_dec_counter_on_complete(self) -> None:
        """A worker that was full may have left tasks in the queue: look again as soon as one has ended."""
        was_full = self.job_counter >= self.max_jobs
        super()._release_sem_dec_counter_on_complete()
        if was_full:
            self.wake()

    async def finish_tasks(self, *, within_seconds: float) -> None:
        """Let the running tasks end, cancel what then still runs (arq will run it again). After `main`."""
        running = [task for task in self.tasks.values() if not task.done()]
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=within_seconds)
        for task in late:
            task.cancel()
        if late:
            log.warning("worker.tasks_cancelled", tasks=len(late))
            await asyncio.wait(late, timeout=1.0)


async def listen_for_wakes(redis: Redis, on_wake: Callable[[], None]) -> None:
    """Call `on_wake` for every wake-up until the connection fails. Raises: what the network raises.

    Calls it once at the beginning too: wake-ups were lost while nobody listened.
    """
    async with redis.pubsub() as subscription:
        await subscription.subscribe(WAKE_TOPIC)
        on_wake()
        is_asked = False
        while True:
            message = await subscription.get_message(timeout=_SILENCE_SECONDS)
            if message is not None:
                is_asked = False
                if message["type"] == "message":
                    on_wake()
            elif is_asked:
                raise TimeoutError("the wake subscription does not answer")
            else:
                await subscription.ping()
                is_asked = True
