"""Pushing what is due: encrypt, send, and read the service's answer (RFC 8030).

201 and other 2xx: taken. 404 and 410: the browser's subscription has ended and is forgotten. 429, 5xx and silence:
again later. Everything else would be refused again, and is dropped.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
from sharedjox_kit.clock import Clock
from sharedjox_kit.logs import get_logger
from sharedjox_marketplace.notifications import deliveries
from sharedjox_marketplace.notifications.deliveries import DuePush
from sqlalchemy.ext.asyncio import AsyncEngine

from sharedjox_worker.webhooks.addresses import AddressRefusedError
from sharedjox_worker.webhooks.sender import post_pinned

from .encryption import MessageTooLargeError, encrypt
from .metrics import PushMetrics
from .vapid import Vapid

log = get_logger(__name__)

TAKEN_AT_ONCE: Final = 50
SENT_AT_ONCE: Final = 16
TIMEOUT_SECONDS: Final = 10.0
LEASE: Final = dt.timedelta(seconds=120)
"""Longer than a batch takes when every service is silent: 50 / 16 rounds of 10 s."""
WORTH_TELLING: Final = dt.timedelta(hours=24)
"""What a browser has not got by then is no news any more. Also the time that the push service keeps it."""
MAX_ATTEMPTS: Final = 10
FIRST_PAUSE_SECONDS: Final = 30.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
POLL_SECONDS: Final = 1.0
_CLIENTS: Final = 64
_GONE: Final = frozenset({404, 410})
_TRY_AGAIN: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after_seconds: float | None = None


class PushDeliveries:
    """`run` pushes until cancelled; `send_due` does it once. Any number of workers may push at once.

    `allow_private`: whether push services may be on private addresses (development and tests).
    """

    def __init__(
        self, engine: AsyncEngine, vapid: Vapid, metrics: PushMetrics, *, clock: Clock, allow_private: bool
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._vapid = vapid
        self._metrics = metrics
        self._clock = clock
        self._allow_private = allow_private
        # One for each origin: addresses are pinned, so a shared pool would mix up names.
        self._clients: OrderedDict[str, httpx.AsyncClient] = OrderedDict()
        self._sending = asyncio.Semaphore(SENT_AT_ONCE)

    async def run(self) -> None:
        """Push what is due, look again a second after there was nothing."""
        while True:
            if not await self.send_due():
                await asyncio.sleep(POLL_SECONDS)

    async def aclose(self) -> None:
        """Close the connections."""
        while self._clients:
            await self._clients.popitem()[1].aclose()

    async def send_due(self) -> int:
        """Try every push that is due, once; returns how many that were."""
        async with self._engine.connect() as connection:
            due = await deliveries.take_due(connection, self._clock.now(), lease=LEASE, limit=TAKEN_AT_ONCE)
        clients = [await self._client(_origin(push.endpoint)) for push in due]
        async with asyncio.TaskGroup() as group:
            for push, client in zip(due, clients, strict=True):
                group.create_task(self._push(push, client))
        return len(due)

    async def _push(self, push: DuePush, client: httpx.AsyncClient) -> None:
        async with self._sending:
            outcome, until = await self._attempt(push, client)
        async with self._engine.connect() as connection:
            if outcome == "gone":
                await deliveries.forget_browser(connection, push)
            elif until is not None:
                await deliveries.postpone(connection, push, until)
            else:
                await deliveries.finish(connection, push)
        self._metrics.count(outcome)

    async def _attempt(self, push: DuePush, client: httpx.AsyncClient) -> tuple[str, dt.datetime | None]:
        """Send; what became of it, and when to try again if so."""
        now = self._clock.now()
        left = push.created_at + WORTH_TELLING - now
        if left <= dt.timedelta(0):
            return self._dropped(push, "too old")
        try:
            body = encrypt(_message(push), p256dh=push.p256dh, auth=push.auth)
        except MessageTooLargeError as error:
            return self._dropped(push, str(error))
        answer = await self._post(push, client, body, ttl_seconds=int(left.total_seconds()))
        if 200 <= answer.status < 300:
            return "delivered", None
        if answer.status in _GONE:
            log.info("push.browser_gone", subscription_id=push.subscription_id, status=answer.status)
            return "gone", None
        is_passing = answer.status == 0 or answer.status >= 500 or answer.status in _TRY_AGAIN
        if not is_passing or push.attempts >= MAX_ATTEMPTS:
            return self._dropped(push, f"status {answer.status}")
        return "postponed", now + _pause(push.attempts, answer.retry_after_seconds)

    async def _post(self, push: DuePush, client: httpx.AsyncClient, body: bytes, *, ttl_seconds: int) -> _Answer:
        """Status 0: no answer."""
        headers = {
            "User-Agent": "SharedJox-Push/1",
            "Authorization": self._vapid.authorization(_origin(push.endpoint), self._clock.now().timestamp()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(ttl_seconds),
            "Urgency": "normal",
            # A push that is sent again replaces the first, while that still waits for the browser.
            "Topic": f"n{push.notification_id}",
        }
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await post_pinned(
                    client, httpx.URL(push.endpoint), body, headers, allow_private=self._allow_private
                )
        except (TimeoutError, AddressRefusedError, httpx.HTTPError, httpx.InvalidURL) as error:
            log.info("push.no_answer", subscription_id=push.subscription_id, error=repr(error))
            return _Answer(0)
        after = answer.headers.get("retry-after", "")
        return _Answer(answer.status_code, float(after) if after.isascii() and after.isdigit() else None)

    def _dropped(self, push: DuePush, reason: str) -> tuple[str, None]:
        log.warning("push.dropped", subscription_id=push.subscription_id, push_id=push.id, reason=reason)
        return "dropped", None

    async def _client(self, origin: str) -> httpx.AsyncClient:
        """The client for a push service; the one that was used longest ago makes room."""
        client = self._clients.pop(origin, None) or httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS
        )
        self._clients[origin] = client
        while len(self._clients) > _CLIENTS:
            await self._clients.popitem(last=False)[1].aclose()
        return client


def _message(push: DuePush) -> bytes:
    """What the demo's service worker reads."""
    told = {"id": push.notification_id, "type": push.type, "title": push.title, "body": push.body, "jobId": push.job_id}
    return json.dumps(told, ensure_ascii=False).encode()


def _origin(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc}"


def _pause(attempts: int, asked_for_seconds: float | None) -> dt.timedelta:
    """30 s, 1 min, 2 min, … an hour, each up to a fifth longer; what the service asks for, if that is longer."""
    grown = min(FIRST_PAUSE_SECONDS * 2 ** (attempts - 1), LONGEST_PAUSE_SECONDS)
    asked = min(asked_for_seconds or 0.0, LONGEST_PAUSE_SECONDS)
    return dt.timedelta(seconds=max(grown * random.uniform(1.0, 1.2), asked))  # noqa: S311 - jitter
