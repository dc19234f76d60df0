"""The soak's load: jobs are posted, claimed and released, people come, look at jobs and leave, sessions end."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.faults.recovering_client import Authorize, Message, RecoveringClient, Recovery
from tests.support.stack import Account, Stack

DISCOVERY: Final = "jobs.discovery"
_JOB: Final = {"budgetMin": 10, "budgetMax": 20, "requiredSkills": ["patience"], "estimatedDuration": 5}
SESSION_SECONDS: Final = 300.0
"""How long a log-in is used before the next; an access token lives longer."""
VISIT_SECONDS: Final = 15.0
"""Mean length of a visit."""


@dataclass(slots=True)
class Figures:
    """What happened since the start; `latencies` since they were taken last, in seconds."""

    counts: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take_latencies(self) -> list[float]:
        """What was measured since the last call."""
        taken, self.latencies = self.latencies, []
        return taken


class Person:
    """A demo account that logs in again now and then."""

    def __init__(self, stack: Stack, name: str, figures: Figures) -> None:
        self._stack = stack
        self._name = name
        self._figures = figures
        self._http = httpx.AsyncClient(base_url=stack.api_url, timeout=30)
        self.account: Account

    async def log_in(self) -> Account:
        """Begin another session; the one before is left to end by itself."""
        self.account = await self._stack.log_in(self._name)
        self._figures.counts["log_ins"] += 1
        return self.account

    async def keep_logged_in(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SESSION_SECONDS)
            await self.log_in()

    async def post(self, path: str, body: Mapping[str, Any], *, may_be: int = 0) -> Any:
        """The decoded answer, None when it has none. What is no success (or `may_be`) is a problem of the run."""
        headers = {"Authorization": f"Bearer {self.account.token}"}
        answer = await self._http.post(path, json=dict(body), headers=headers)
        if answer.status_code == may_be:
            return None
        if answer.status_code >= 300:
            self._figures.problems.append(f"POST {path}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer.json() if answer.content else None

    def authorize(self, *, client_id: str = "") -> Authorize:
        """Signs channels through the api, as this person."""

        async def ask(socket_id: str, channel: str) -> Mapping[str, str]:
            body = {"socket_id": socket_id, "channel_name": channel} | ({"client_id": client_id} if client_id else {})
            signed = await self.post("/broadcasting/auth", body, may_be=403)  # a job may just have been claimed
            if signed is None:
                msg = "no signature"
                raise ConnectionError(msg)
            fields: Mapping[str, str] = signed
            return fields

        return ask

    async def close(self) -> None:
        """Close the connections to the api."""
        await self._http.aclose()


class SoakLoad:
    """`residents` stay and see everything; about `visitors` others are there at any time."""

    def __init__(self, stack: Stack, *, rate: float, residents: int, visitors: int, seed: int) -> None:
        self.figures = Figures()
        self._stack = stack
        self._rate = rate
        self._visitors = visitors
        self._dice = random.Random(seed)
        self._client = Person(stack, "client", self.figures)
        self._freelancer = Person(stack, "freelancer", self.figures)
        self._jobs: list[int] = []
        self._posted_at: dict[str, float] = {}
        self.residents = [self._resident(number) for number in range(residents)]
        if self.residents:
            self.residents[0].on_event = self._measure

    async def log_in(self) -> None:
        """Both people begin their first session."""
        await self._client.log_in()
        await self._freelancer.log_in()

    def tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """All that goes on, each until cancelled."""
        return [
            self._client.keep_logged_in,
            self._freelancer.keep_logged_in,
            self._post_jobs,
            self._claim_jobs,
            self._cut_residents,
            self._end_sessions,
            *[self._visit] * self._visitors,
        ]

    async def close(self) -> None:
        """Close the connections to the api."""
        await self._client.close()
        await self._freelancer.close()

    # --- those who stay -----------------------------------------------------------------------------------------------

    def _port(self) -> int:
        return self._stack.ports.gateway

    def _own(self) -> str:
        return f"private-user.{self._client.account.id}"

    def _resident(self, number: int) -> RecoveringClient:
        return RecoveringClient(
            self._port,
            [DISCOVERY],
            self._client.authorize(),
            random.Random(f"{self._dice.random()} {number}"),
            retry_seconds=(0.1, 1.0),
        )

    def _measure(self, message: Message) -> None:
        """From before the request until the event is here."""
        posted_at = self._posted_at.pop(message.content()["job"]["title"], None)
        if posted_at is not None:
            self.figures.latencies.append(time.monotonic() - posted_at)

    async def _cut_residents(self) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(1.0))
            if self.residents:
                self._dice.choice(self.residents).cut()
                self.figures.counts["cuts"] += 1

    # --- what they see ------------------------------------------------------------------------------------------------

    async def _post_jobs(self) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(self._rate))
            title = f"Job {self.figures.counts['posted']}"
            self._posted_at[title] = time.monotonic()
            job = await self._client.post("/api/jobs", _JOB | {"title": title})
            if job is None:
                continue
            self._jobs = [*self._jobs[-20:], job["id"]]
            self.figures.counts["posted"] += 1

    async def _claim_jobs(self) -> None:
        """Claim and give back: money is held and freed, rights on channels come and go."""
        while True:
            await asyncio.sleep(self._dice.expovariate(0.5))
            if self._jobs:
                job_id = self._jobs[-1]
                if await self._freelancer.post(f"/api/jobs/{job_id}/claim", {}) is not None:
                    await self._freelancer.post(f"/api/jobs/{job_id}/status", {"status": "active"})
                    self.figures.counts["claimed"] += 1

    # --- those who come and go ----------------------------------------------------------------------------------------

    async def _visit(self) -> None:
        """One visitor after the other, each on channels of their own choice."""
        while True:
            visitor = self._visitor()
            living = asyncio.create_task(visitor.run())
            try:
                await asyncio.sleep(self._dice.expovariate(1 / VISIT_SECONDS))
                visitor.leave() if self._dice.random() < 0.5 else visitor.cut()
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
            self.figures.counts["visits"] += 1
            self.figures.problems += [f"a visitor got {name}" for name in visitor.foreign]

    def _visitor(self) -> RecoveringClient:
        dice = self._dice
        person, recovery = self._freelancer, Recovery.OWN_POSITION
        authorize = person.authorize()
        channels = [DISCOVERY]
        kind = dice.randrange(4)
        if kind == 0 and self._jobs:
            channels.append(f"presence-job.{self._jobs[-1]}")
        elif kind == 1 and self._jobs:
            channels = [f"private-job.{self._jobs[-1]}"]
            authorize = self._client.authorize()
        elif kind == 2:
            channels = [self._own()]
            recovery = Recovery.CLIENT_ID
            authorize = self._client.authorize(client_id=f"tab-{dice.getrandbits(64):x}")
        return RecoveringClient(
            self._port,
            channels,
            authorize,
            random.Random(dice.getrandbits(64)),
            recovery=recovery,
            retry_seconds=(1, 2),
        )

    async def _end_sessions(self) -> None:
        """Log in, listen, log out: the server closes the socket."""
        while True:
            await asyncio.sleep(self._dice.expovariate(0.05))
            account = await self._stack.log_in("freelancer")
            watcher = Person(self._stack, "freelancer", self.figures)
            watcher.account = account
            client = RecoveringClient(
                self._port,
                [f"private-user.{account.id}"],
                watcher.authorize(),
                random.Random(0),
                retry_seconds=(60, 60),
            )
            living = asyncio.create_task(client.run())
            try:
                await asyncio.sleep(2)
                await watcher.post("/api/auth/logout", {})
                await asyncio.sleep(2)
                self.figures.counts["sessions_ended"] += 1
                self.figures.counts["sockets_closed_by_log_out"] += len(client.close_codes)
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
                await watcher.close()
