"""Load through the balancer that knows what it is owed: jobs posted all the time, subscribers that recover."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

JOB = {"title": "Under load", "budgetMin": 1, "budgetMax": 2, "requiredSkills": ["chaos"], "estimatedDuration": 5}
CHANNEL = "jobs.discovery"
PAUSE_SECONDS = 0.05


@dataclass(slots=True)
class Subscriber:
    """Stays on `jobs.discovery`, comes back by position whenever the connection ends."""

    url: str
    trust: ssl.SSLContext
    seen: list[int] = field(default_factory=list)
    position: dict[str, Any] | None = None
    reconnects: int = 0
    lost: int = 0
    heard_at: dict[int, float] = field(default_factory=dict)
    joined: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                await self._listen()
            self.reconnects += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        url = f"{self.url.replace('https', 'wss', 1)}/app/sharedjox?protocol=7&client=chaos&version=1"
        async with connect(url, ssl=self.trust, open_timeout=5, compression=None, proxy=None) as socket:
            await socket.recv()
            data: dict[str, Any] = {"channel": CHANNEL} | ({"recover": self.position} if self.position else {})
            await socket.send(json.dumps({"event": "pusher:subscribe", "data": data}))
            async for text in socket:
                self._take(json.loads(text))

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["event"] == "pusher_internal:subscription_succeeded":
            answer = json.loads(frame["data"])
            self.lost += answer.get("recovered") is False
            if self.position is None:
                self.position = answer["position"]
            self.joined.set()
        elif frame["event"] == "job.posted":
            self.position = {"epoch": frame["epoch"], "offset": frame["offset"]}
            job_id = json.loads(frame["data"])["job"]["id"]
            self.seen.append(job_id)
            self.heard_at.setdefault(job_id, time.monotonic())


@dataclass(slots=True)
class Poster:
    """Posts jobs one after the other; a request without an answer is repeated with its key, as a client would."""

    url: str
    trust: ssl.SSLContext
    posted: list[int] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Until cancelled."""
        number = 0
        async with httpx.AsyncClient(base_url=self.url, verify=self.trust, timeout=10) as http:
            headers = await self._log_in(http)
            while True:
                number += 1
                self.posted.append(await self._post(http, headers | {"Idempotency-Key": f"chaos-{id(self)}-{number}"}))
                self.answered_at.append(time.monotonic())
                await asyncio.sleep(PAUSE_SECONDS)

    async def _log_in(self, http: httpx.AsyncClient) -> dict[str, str]:
        answer = await http.post("/api/auth/login", json={"email": "client@sharedjox.test", "password": "password"})
        return {"Authorization": f"Bearer {answer.json()['accessToken']}"}

    async def _post(self, http: httpx.AsyncClient, headers: dict[str, str]) -> int:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await http.post("/api/jobs", json=JOB, headers=headers)
                if answer.status_code == httpx.codes.CREATED:
                    job_id: int = answer.json()["id"]
                    return job_id
            await asyncio.sleep(PAUSE_SECONDS)


def summary(poster: Poster, subscribers: Sequence[Subscriber]) -> str:
    """What was seen, in one line; times in seconds. Delays count from the answer to the post."""
    answered = poster.answered_at
    waits = [later - earlier for earlier, later in itertools.pairwise(answered)]
    delays = sorted(
        one.heard_at[job] - at
        for one in subscribers
        for job, at in zip(poster.posted, answered, strict=True)
        if job in one.heard_at
    )
    owed = len(poster.posted) * len(subscribers)
    p50, p99 = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
    return (
        f"{len(poster.posted)} jobs in {answered[-1] - answered[0]:.1f} s, {len(delays)} of {owed} deliveries,"
        f" {sum(one.reconnects for one in subscribers)} reconnects,"
        f" {sum(one.lost for one in subscribers)} told of a loss;"
        f" longest wait for an answer {max(waits):.2f}, delay p50 {p50:.3f} p99 {p99:.2f} last {delays[-1]:.2f}"
    )
