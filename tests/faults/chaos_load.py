"""What goes on while everything breaks: jobs are posted, claimed, given back or finished and paid.

Each request is repeated with its idempotency key until it has an answer, as a front end does.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import httpx

from tests.faults.recovering_client import Authorize
from tests.support.stack import Account

_JOB: Final = {"budgetMin": 10, "budgetMax": 20, "requiredSkills": ["chaos"], "estimatedDuration": 5}
_AGAIN: Final = frozenset({429, 500, 502, 503})
_DEAL_EVERY: Final = 10
"""Each so many claims one is brought to its end and paid; the others are given back."""
_MOST_DEALS: Final = 80
"""The client's demo wallet has money for a few more."""


class ChaosLoad:
    """Requests of the two demo accounts. `problems` are answers that no fault explains."""

    def __init__(self, api_port: int, client: Account, freelancer: Account, *, pause_seconds: float = 0.05) -> None:
        self.problems: list[str] = []
        self.is_over = False
        self.answered = 0
        """Requests that changed something and were answered so."""
        self.client = client
        self.freelancer = freelancer
        self._pause_seconds = pause_seconds
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{api_port}", timeout=5)
        self._open_jobs: deque[int] = deque(maxlen=20)

    def tasks(self, posters: int = 3) -> list[asyncio.Task[None]]:
        """The load's parts, until `is_over`."""
        parts: list[Awaitable[None]] = [self._post_jobs(number) for number in range(posters)]
        return [asyncio.ensure_future(part) for part in [*parts, self._trade()]]

    async def close(self) -> None:
        """Close the connections to the api."""
        await self._http.aclose()

    def authorize(self, account: Account, *, client_id: str = "") -> Authorize:
        """Signs channels through the api. Raises: ConnectionError while there is no answer, or the answer is no."""

        async def ask(socket_id: str, channel: str) -> Mapping[str, str]:
            body = {"socket_id": socket_id, "channel_name": channel} | ({"client_id": client_id} if client_id else {})
            answer = await self._ask("/broadcasting/auth", account, body, None)
            if answer is None or answer.status_code != 200:
                msg = "the api gives no signature just now"
                raise ConnectionError(msg)
            fields: Mapping[str, str] = answer.json()
            return fields

        return ask

    async def _ask(
        self, path: str, account: Account, body: Mapping[str, Any], key: str | None
    ) -> httpx.Response | None:
        headers = {"Authorization": f"Bearer {account.token}"} | ({"Idempotency-Key": key} if key else {})
        # AttributeError: what anyio raises about a connection that was reset while it was being made.
        with contextlib.suppress(httpx.TransportError, AttributeError):
            return await self._http.post(path, json=dict(body), headers=headers)
        return None

    async def _do(self, path: str, account: Account, body: Mapping[str, Any]) -> Any:
        """Repeat until there is an answer; returns it decoded."""
        key = str(uuid.uuid4())
        while True:
            answer = await self._ask(path, account, body, key)
            if answer is not None and answer.status_code < 300:
                self.answered += 1
                return answer.json()
            if answer is not None and answer.status_code not in _AGAIN:
                self.problems.append(f"POST {path} answered {answer.status_code}: {answer.text[:200]}")
                return None
            await asyncio.sleep(self._pause_seconds)

    async def _post_jobs(self, number: int) -> None:
        while not self.is_over:
            job = await self._do("/api/jobs", self.client, _JOB | {"title": f"load {number} {uuid.uuid4()}"})
            if job is not None:
                self._open_jobs.append(job["id"])
            await asyncio.sleep(self._pause_seconds)

    async def _trade(self) -> None:
        claims = 0
        while not self.is_over:
            if self._open_jobs:
                job_id = self._open_jobs.popleft()
                claims += 1
                await self._do(f"/api/jobs/{job_id}/claim", self.freelancer, {})
                if claims % _DEAL_EVERY or claims > _DEAL_EVERY * _MOST_DEALS:
                    await self._step(job_id, self.freelancer, "active")
                else:
                    await self._finish(job_id)
            await asyncio.sleep(self._pause_seconds)

    async def _finish(self, job_id: int) -> None:
        await self._step(job_id, self.freelancer, "in_progress")
        await self._step(job_id, self.freelancer, "submitted", deliverables=["all of it"])
        await self._step(job_id, self.client, "completed")

    async def _step(self, job_id: int, account: Account, status: str, **more: Any) -> None:
        await self._do(f"/api/jobs/{job_id}/status", account, {"status": status, **more})
