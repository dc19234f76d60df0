"""Breaks every part of a real platform under load, then checks that nothing was lost, doubled, reordered or leaked.

`python -m tests.faults.chaos --faults 200 --clients 200 [--seed N]`. It prints the line that repeats a run's dice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.faults.recovering_client import RecoveringClient
from tests.support.polling import eventually, scaled
from tests.support.stack import Account, Stack, running_stack

DISCOVERY = "jobs.discovery"
JOB = {"title": "", "budgetMin": 10, "budgetMax": 20, "requiredSkills": ["chaos"], "estimatedDuration": 5}
SETTLE_SECONDS = 90
_MUST_BE_ZERO = {
    "parked rows": "SELECT count(*) FROM outbox_messages WHERE parked_at IS NOT NULL",
    "unpublished rows": "SELECT count(*) FROM outbox_messages WHERE published_at IS NULL",
    "cents too many in the ledger": "SELECT coalesce(sum(amount_cents), 0) FROM ledger_entries",
}


@dataclass(slots=True)
class Report:
    """What a run came to."""

    faults: Counter[str] = field(default_factory=Counter)
    events: int = 0
    deliveries: int = 0
    repeats: int = 0
    reconnects: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"{sum(self.faults.values())} faults ({faults}) in {self.seconds:.0f} s; {self.events} events, "
            f"{self.deliveries} deliveries after dedupe, {self.repeats} repeats dropped, {self.reconnects} reconnects; "
            f"{len(self.problems)} problems"
        )


class Chaos:
    """One run over one stack."""

    def __init__(self, stack: Stack, *, seed: int, clients: int) -> None:
        self._stack = stack
        self._dice = random.Random(seed)
        self._client_count = clients
        self._clients: list[RecoveringClient] = []
        self._report = Report()
        self._posting = True
        self._posted = 0
        self._http = httpx.AsyncClient(base_url=stack.api_url, timeout=5)

    async def run(self, faults: int) -> Report:
        """Start clients and load, break things, heal, settle, check."""
        started = time.monotonic()
        poster = await self._stack.log_in("client")
        self._clients = [self._client(number, poster) for number in range(self._client_count)]
        watching = [asyncio.create_task(client.run()) for client in self._clients]
        try:
            await eventually(self._all_ready, SETTLE_SECONDS, what="every client is subscribed")
            load = [asyncio.create_task(self._post(poster, number)) for number in range(3)]
            for _ in range(faults):
                await self._break_something()
            self._posting = False
            await asyncio.gather(*load)
            await self._heal()
            await self._settle(poster)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await self._http.aclose()
        self._report.seconds = time.monotonic() - started
        return self._report

    def _client(self, number: int, poster: Account) -> RecoveringClient:
        """Every tenth client belongs to the poster and is on its private channel too."""
        own = f"private-user.{poster.id}"
        channels = [DISCOVERY, own] if number % 10 == 0 else [DISCOVERY]

        async def authorize(socket_id: str, channel: str) -> str:
            answer = await self._ask(
                "/broadcasting/auth", poster, {"socket_id": socket_id, "channel_name": channel}, None
            )
            if answer is None or answer.status_code != 200:
                raise ConnectionError("the api gives no signature just now")
            auth: str = answer.json()["auth"]
            return auth

        return RecoveringClient(
            self._stack.websocket_url, channels, authorize, random.Random(self._dice.getrandbits(64))
        )

    def _all_ready(self) -> bool:
        return all(client.is_ready for client in self._clients)

    # --- load -------------------------------------------------------------------------------------------------------

    async def _post(self, poster: Account, number: int) -> None:
        """Post jobs; a request without an answer is repeated with its idempotency key until it has one."""
        while self._posting:
            body = JOB | {"title": f"load {number} {uuid.uuid4()}"}
            key = str(uuid.uuid4())
            while True:
                answer = await self._ask("/api/jobs", poster, body, key)
                if answer is not None and answer.status_code == 201:
                    self._posted += 1
                    break
                if answer is not None and answer.status_code not in (409, 429, 500, 502, 503):
                    self._report.problems.append(f"POST /api/jobs answered {answer.status_code}: {answer.text[:200]}")
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)

    async def _ask(
        self, path: str, account: Account, body: dict[str, object], key: str | None
    ) -> httpx.Response | None:
        headers = {"Authorization": f"Bearer {account.token}"} | ({"Idempotency-Key": key} if key else {})
        try:
            return await self._http.post(path, json=body, headers=headers)
        except httpx.TransportError:
            return None

    # --- faults -----------------------------------------------------------------------------------------------------

    async def _break_something(self) -> None:
        stack, dice = self._stack, self._dice
        service = dice.choice(["api", "worker", "gateway-1", "gateway-2"])
        pause = dice.uniform(0.0, 1.0)
        faults: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            (f"kill {service}", lambda: self._kill(service, pause)),
            (f"kill {service}", lambda: self._kill(service, pause)),
            (f"freeze {service}", lambda: self._freeze(service, pause)),
            (f"stop {service}", lambda: self._stop(service)),
            ("kill redis", lambda: self._restart_server(stack.redis.process.kill, stack.redis.start, pause)),
            ("stop redis", lambda: self._restart_server(stack.redis.stop, stack.redis.start, pause)),
            ("kill postgres", lambda: self._restart_server(stack.postgres.process.kill, stack.postgres.start, pause)),
            ("cut clients", self._cut),
        ]
        name, fault = dice.choice(faults)
        self._report.faults[name] += 1
        await fault()
        await self._load_goes_on(dice.randint(0, 6))

    async def _load_goes_on(self, posts: int) -> None:
        """Wait until so many more jobs were posted; none = the next fault comes on top of this one.

        By events and not by time, so that a slow machine gets as much load between its faults as a fast one.
        """
        wanted = self._posted + posts

        def is_reached() -> bool:
            for service in self._stack.services.values():
                if not service.is_running:  # gave up without its servers: a supervisor would start it
                    service.start(wait=False)
            return self._posted >= wanted

        await eventually(is_reached, SETTLE_SECONDS, what=f"{posts} jobs are posted after a fault")

    async def _kill(self, name: str, pause: float) -> None:
        self._stack.services[name].kill()
        await asyncio.sleep(pause)
        await asyncio.to_thread(self._stack.services[name].start, wait=False)

    async def _freeze(self, name: str, pause: float) -> None:
        service = self._stack.services[name]
        if service.is_running:
            service.freeze()
            await asyncio.sleep(2 * pause)
            service.thaw()

    async def _stop(self, name: str) -> None:
        service = self._stack.services[name]
        await asyncio.to_thread(service.stop)
        await asyncio.to_thread(service.start, wait=False)

    @staticmethod
    async def _restart_server(stop: Callable[[], object], start: Callable[[], object], pause: float) -> None:
        await asyncio.to_thread(stop)
        await asyncio.sleep(pause)
        await asyncio.to_thread(start)

    async def _cut(self) -> None:
        for client in self._dice.sample(self._clients, k=max(1, len(self._clients) // 4)):
            client.cut()

    async def _heal(self) -> None:
        """Everything runs again. A service that gave up without its servers is started, as a supervisor would."""
        for service in self._stack.services.values():
            if not service.is_running:
                await asyncio.to_thread(service.start, wait=False)
        for service in self._stack.services.values():
            await asyncio.to_thread(service.wait_ready, 60)

    # --- what must hold -----------------------------------------------------------------------------------------------

    async def _settle(self, poster: Account) -> None:
        engine = create_async_engine(self._stack.env["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"))
        try:
            expected = {channel: await self._committed(engine, channel) for channel in self._channels()}

            def everything_arrived() -> bool:
                return self._all_ready() and all(
                    len(seen.ids) >= len(expected[channel]) or seen.told_lost
                    for client in self._clients
                    for channel, seen in client.seen.items()
                )

            with contextlib.suppress(AssertionError):  # what is missing is said below, client by client
                await eventually(everything_arrived, SETTLE_SECONDS)
            await asyncio.sleep(scaled(0.5))  # a repeat would come right behind
            self._check_clients(expected)
            await self._check_database(engine)
        finally:
            await engine.dispose()

    def _channels(self) -> set[str]:
        return {channel for client in self._clients for channel in client.seen}

    @staticmethod
    async def _committed(engine: AsyncEngine, channel: str) -> list[str]:
        async with engine.connect() as connection:
            rows = await connection.execute(
                text("SELECT event_id FROM outbox_messages WHERE channel = :channel ORDER BY id"), {"channel": channel}
            )
            return [str(row.event_id) for row in rows]

    def _check_clients(self, expected: dict[str, list[str]]) -> None:
        report = self._report
        report.events = sum(len(ids) for ids in expected.values())
        for number, client in enumerate(self._clients):
            report.reconnects += client.connects - 1
            if client.foreign:
                report.problems.append(f"client {number} got events of {set(client.foreign)}")
            for channel, seen in client.seen.items():
                report.deliveries += len(seen.ids)
                report.repeats += seen.repeats
                if seen.told_lost:
                    report.problems.append(f"client {number} was told of a loss on {channel}, but Redis kept its data")
                elif seen.ids != expected[channel]:
                    report.problems.append(f"client {number} on {channel}: {_difference(seen.ids, expected[channel])}")

    async def _check_database(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            for what, query in _MUST_BE_ZERO.items():
                count = (await connection.execute(text(query))).scalar_one()
                if count:
                    self._report.problems.append(f"{count} {what}")


def _difference(got: list[str], expected: list[str]) -> str:
    missing = len(set(expected) - set(got))
    strange = len(set(got) - set(expected))
    if missing or strange:
        return f"{missing} missing, {strange} unknown of {len(expected)}"
    return "out of order"


async def run_chaos(folder: Path, *, seed: int, faults: int, clients: int) -> Report:
    """One run on servers and services of its own. The caller judges the report's problems."""
    with running_stack(folder, extra_env={"DRAIN_SECONDS": "0.5"}, durable_servers=True) as stack:
        return await Chaos(stack, seed=seed, clients=clients).run(faults)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    replay = f"python -m tests.faults.chaos --faults {options.faults} --clients {options.clients} --seed {seed}"
    sys.stdout.write(f"replay: {replay}\n")
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run_chaos(Path(folder), seed=seed, faults=options.faults, clients=options.clients))
    sys.stdout.write(f"{report}\n")
    for problem in report.problems[:20]:
        sys.stdout.write(f"  {problem}\n")
    raise SystemExit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
