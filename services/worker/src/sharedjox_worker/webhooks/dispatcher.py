"""All webhooks of all applications: one activity per endpoint, and one per application for held events.

The applications are read again when they change; endpoints come and go without a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from redis.asyncio import Redis
from sharedjox_contracts.webhooks import WebhookApp
from sharedjox_kit.ending import end_tasks
from sharedjox_kit.logs import get_logger

from sharedjox_worker.supervision import keep_running

from .delivery import DeliveryLimits, EndpointDelivery
from .metrics import WebhookMetrics
from .queue import WebhookQueue

log = get_logger(__name__)
RELOAD_SECONDS: Final = 2.0
HELD_POLL_SECONDS: Final = 0.5


class WebhookDispatcher:
    """`run` serves until cancelled. `load_apps` returns the applications in force now; it may raise ValueError."""

    def __init__(
        self,
        redis: Redis,
        load_apps: Callable[[], list[WebhookApp]],
        limits: DeliveryLimits,
        metrics: WebhookMetrics,
    ) -> None:
        self._redis = redis
        self._load_apps = load_apps
        self._limits = limits
        self._metrics = metrics
        self._running: dict[object, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Start what is configured, stop what no longer is."""
        try:
            while True:
                await end_tasks(*self._follow(self._activities()))
                await asyncio.sleep(RELOAD_SECONDS)
        finally:
            await end_tasks(*self._follow({}))

    def _activities(self) -> dict[object, Callable[[], Coroutine[Any, Any, None]]]:
        activities: dict[object, Callable[[], Coroutine[Any, Any, None]]] = {}
        try:
            apps = self._load_apps()
        except (OSError, ValueError) as error:
            log.warning("webhook.apps_unreadable", error=str(error))
            return {key: _nothing for key in self._running}  # go on with what there is
        for app in apps:
            if not app.enabled or not app.webhooks:
                continue
            queue = WebhookQueue(self._redis, app.id)
            activities["held", app.id] = _Holds(queue).run
            for endpoint in app.webhooks:
                delivery = EndpointDelivery(app, endpoint, queue, self._limits, self._metrics)
                activities[_key(app, endpoint.name)] = delivery.run
        return activities

    def _follow(self, wanted: dict[object, Callable[[], Coroutine[Any, Any, None]]]) -> list[asyncio.Task[None]]:
        """Start what is new; returns what is to be ended."""
        unwanted = [self._running.pop(key) for key in list(self._running) if key not in wanted]
        for key, activity in wanted.items():
            if key not in self._running:
                self._running[key] = asyncio.create_task(keep_running("webhooks", activity))
        return unwanted


def _key(app: WebhookApp, endpoint: str) -> object:
    """Equal as long as nothing changed that concerns the endpoint."""
    return (endpoint, app.id, app.key, app.secret, repr(app.webhooks))


async def _nothing() -> None:
    return


class _Holds:
    """Queues an application's held events when they are due. Any number of workers may do so."""

    def __init__(self, queue: WebhookQueue) -> None:
        self._queue = queue

    async def run(self) -> None:
        while True:
            due_seconds = await self._queue.release_held()
            await asyncio.sleep(min(HELD_POLL_SECONDS if due_seconds is None else due_seconds, HELD_POLL_SECONDS))
