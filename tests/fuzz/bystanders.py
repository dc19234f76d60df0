"""Ordinary clients on the attacked process: they get every event in order, their pings are answered, none is closed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from tests.support.gateway import Clients, Frame, GatewayNode, PusherClient
from tests.support.http_api import ApiConnection, open_connection, sign_request
from tests.support.polling import eventually

from .pusher_messages import PUBLIC, SHARED

PUBLISH_SECONDS: Final = 0.02
PING_SECONDS: Final = 0.1
PRESENCE: Final = "presence-bystanders"
CHANNELS: Final = 3
"""How many channels there are with nobody but the bystanders."""


@dataclass(slots=True)
class Seen:
    """What all bystanders saw; times in seconds, the clients' own waiting included."""

    published_at: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    """From the publish to each arrival."""
    pongs: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    """Of the HTTP API to each publish."""
    breaches: Counter[str] = field(default_factory=Counter)
    """Events missed, doubled, or others that nobody but a gateway in trouble would have sent."""


class Bystander:
    """One client. It looks at each event as it arrives and keeps none."""

    def __init__(self, client: PusherClient, seen: Seen) -> None:
        self.client = client
        self._seen = seen
        self.due = {PUBLIC: 0, SHARED: 0}
        """The number of the next event of each channel."""
        client.take = self._take

    def _take(self, frame: Frame) -> bool:
        seen = self._seen
        if frame.event == "tick" and frame.channel is not None:
            number, due = frame.data["n"], self.due[frame.channel]
            seen.delays.append(time.monotonic() - seen.published_at[number])
            seen.breaches["missed"] += max(0, number - due)
            seen.breaches["doubled"] += number < due
            self.due[frame.channel] = max(due, number + 1)
            return True
        if frame.event.startswith("client-"):
            return True  # of an attacker that joined the shared channel, as it may
        if frame.event != "pusher:pong":
            seen.breaches[f"told {frame.text[:100]}"] += 1
        return False

    async def ping(self) -> None:
        """One ping."""
        began = time.monotonic()
        await self.client.round_trip()
        self._seen.pongs.append(time.monotonic() - began)
        self.client.frames.clear()


class Bystanders:
    """`count` clients and one publisher over the HTTP API, all on one gateway. Use as `async with`; then `verdict`."""

    def __init__(self, node: GatewayNode, count: int) -> None:
        self._node = node
        self._count = count
        self._clients = Clients()
        self._open: list[Bystander] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._api: ApiConnection
        self._is_over = False
        self.seen = Seen()

    async def __aenter__(self) -> Self:
        self._api = await open_connection(self._node)
        opened = [await self._clients.open(self._node) for _ in range(self._count)]
        for number, client in enumerate(opened):
            for channel in (PUBLIC, SHARED):
                await client.subscribe(channel)
            await client.subscribe(PRESENCE, user_id=number)
        for number, client in enumerate(opened):
            others_behind = self._count - 1 - number
            if others_behind:
                await client.wait_for("pusher_internal:member_added", channel=PRESENCE, count=others_behind)
        self._open = [Bystander(client, self.seen) for client in opened]
        self._tasks = [asyncio.create_task(self._publish())]
        self._tasks += [asyncio.create_task(self._ping(bystander)) for bystander in self._open]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._api.close()
        await self._clients.close()

    async def _publish(self) -> None:
        published_at = self.seen.published_at
        while not self._is_over:
            event = {"name": "tick", "channels": [PUBLIC, SHARED], "data": f'{{"n":{len(published_at)}}}'}
            began = time.monotonic()
            published_at.append(began)
            await self._api.send(sign_request("POST", "/events", event).encode())
            answer = await self._api.answer()
            assert answer.status == 200, answer.text
            self.seen.answers.append(time.monotonic() - began)
            await asyncio.sleep(PUBLISH_SECONDS)

    async def _ping(self, bystander: Bystander) -> None:
        while not self._is_over:
            await bystander.ping()
            await asyncio.sleep(PING_SECONDS)

    async def verdict(self) -> list[str]:
        """End the publishing and say what is wrong with what the bystanders saw: nothing, it is to be hoped."""
        self._is_over = True
        wrong = [f"{error!r}" for error in await asyncio.gather(*self._tasks, return_exceptions=True) if error]
        published = len(self.seen.published_at)

        def is_settled() -> bool:
            return all(each.client.close_code is not None or min(each.due.values()) >= published for each in self._open)

        try:
            await eventually(is_settled, 30)
        except AssertionError:
            missing = [{name: published - due for name, due in each.due.items()} for each in self._open]
            wrong.append(f"events that never arrived, by bystander: {missing}")
        for number, each in enumerate(self._open):
            if each.client.close_code is not None:
                wrong.append(f"bystander {number} was closed with {each.client.close_code}")
        return wrong + [f"bystanders: {breach} x{count}" for breach, count in self.seen.breaches.items() if count]
