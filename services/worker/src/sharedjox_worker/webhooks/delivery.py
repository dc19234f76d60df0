"""Serving one endpoint: its events in order, in batches, again and again until they are taken or too old.

One worker serves an endpoint at a time (a lock with a lease); another one takes over when that worker is gone. Delivery
is at least once: a worker that dies between an answer and noting it makes the receiver see a batch twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError
from sharedjox_contracts.webhooks import WebhookApp, WebhookEndpoint, webhook_body, webhook_headers
from sharedjox_kit.clock import unix_ms
from sharedjox_kit.ending import end_tasks
from sharedjox_kit.logs import get_logger

from .metrics import WebhookMetrics
from .queue import QueuedEvent, WebhookQueue
from .sender import Sender

log = get_logger(__name__)
LOCK_SECONDS: Final = 15.0
BLOCK_SECONDS: Final = 1.0
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """How long an event is tried after it happened, and how long one request may take."""

    retry_seconds: float = 300.0
    timeout_seconds: float = 10.0
    allow_private: bool = False


class EndpointDelivery:
    """Sends one application's events to one endpoint. `run` ends by cancellation, or raises when Redis is away."""

    def __init__(
        self,
        app: WebhookApp,
        endpoint: WebhookEndpoint,
        queue: WebhookQueue,
        limits: DeliveryLimits,
        metrics: WebhookMetrics,
    ) -> None:
        self._app = app
        self._endpoint = endpoint
        self._queue = queue
        self._limits = limits
        self._metrics = metrics
        self._others = [other.name for other in app.webhooks if other.name != endpoint.name]
        self._holder = secrets.token_hex(8)

    async def run(self) -> None:
        """Wait for the lock, then serve the endpoint as long as it is ours; over and over."""
        while True:
            if not await self._queue.lock(self._endpoint.name, self._holder, round(LOCK_SECONDS * 1000)):
                await asyncio.sleep(LOCK_SECONDS / 3)
                continue
            activities = [asyncio.create_task(self._serve()), asyncio.create_task(self._keep_lock())]
            try:
                await asyncio.wait(activities, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end_tasks(*activities)
                with contextlib.suppress(RedisError, OSError):
                    await self._queue.unlock(self._endpoint.name, self._holder)
            for activity in activities:
                if not activity.cancelled() and (error := activity.exception()) is not None:
                    raise error

    async def _keep_lock(self) -> None:
        """Return when somebody else has the lock."""
        is_ours = True
        while is_ours:
            await asyncio.sleep(LOCK_SECONDS / 3)
            is_ours = await self._queue.lock(self._endpoint.name, self._holder, round(LOCK_SECONDS * 1000))

    async def _serve(self) -> None:
        """Return when somebody else serves the endpoint."""
        endpoint = self._endpoint
        sender = Sender(
            endpoint.url, timeout_seconds=self._limits.timeout_seconds, allow_private=self._limits.allow_private
        )
        async with contextlib.aclosing(sender):
            cursor = await self._queue.cursor(endpoint.name)
            while True:
                batch = await self._queue.read(cursor, endpoint.max_events, block_ms=round(BLOCK_SECONDS * 1000))
                if not batch:
                    continue
                wanted = [event for event in batch if endpoint.wants(event.name)]
                if wanted:
                    await self._deliver(sender, wanted)
                cursor = batch[-1].entry_id
                if not await self._queue.advance(endpoint.name, cursor, self._holder, self._others):
                    return

    async def _deliver(self, sender: Sender, events: Sequence[QueuedEvent]) -> None:
        """Send a batch until it is taken, or until its newest event is older than the retries last.

        Every batch is tried once, however old it is: it may have waited for a worker, not for its receiver.
        """
        body = webhook_body(unix_ms(), [event.json for event in events])
        headers = {**self._endpoint.headers, **webhook_headers(self._app.key, self._app.secret, body)}
        give_up_ms = events[-1].created_ms + self._limits.retry_seconds * 1000
        for delay in _delays():
            failure = await sender.send(body, headers)
            if failure is None:
                self._metrics.delivered(len(events), (unix_ms() - events[0].created_ms) / 1000)
                return
            self._metrics.failed()
            remaining = (give_up_ms - unix_ms()) / 1000
            if remaining <= 0:
                break
            log.info("webhook.failed", **self._facts(events), reason=failure, retry_seconds=round(delay, 1))
            await asyncio.sleep(min(delay, remaining))
        self._metrics.dropped(len(events))
        log.error("webhook.dropped", **self._facts(events), reason=failure)

    def _facts(self, events: Sequence[QueuedEvent]) -> dict[str, object]:
        host = self._endpoint.url.split("/")[2].rpartition("@")[2]
        return {"app_id": self._app.id, "endpoint": self._endpoint.name, "host": host, "events": len(events)}


def _delays() -> Iterator[float]:
    """1, 2, 4, … 60, 60, … seconds, each up to a fifth shorter."""
    delay = FIRST_RETRY_SECONDS
    while True:
        yield delay * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
        delay = min(delay * 2, LONGEST_RETRY_SECONDS)
