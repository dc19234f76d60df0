"""A subscriber that comes back after whatever happens, and keeps what it saw so that a harness can judge it.

It recovers as the web client does (it keeps its positions and asks for what it missed) or as stock pusher-js with a
signed `client_id` does (the gateway remembers for it, repeats are dropped by their id).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from sys import intern
from typing import Any, Final

import msgspec

from .link import Link, open_link

PATH: Final = "/app/sharedjox?protocol=7&client=faults&version=1.0"
_PING: Final = b'{"event":"pusher:ping","data":{}}'
_PONG: Final = b'{"event":"pusher:pong","data":{}}'
_CONNECT_SECONDS: Final = 10.0

Authorize = Callable[[str, str], Awaitable[Mapping[str, str]]]
"""Gets the signed members of a subscribe (`auth`, `channel_data`) for (socket id, channel); OSError while it cannot."""


class Recovery(Enum):
    """Who remembers where a client was."""

    OWN_POSITION = "own position"
    CLIENT_ID = "client id"


class Message(msgspec.Struct):
    """What a gateway sends; `id`, `epoch` and `offset` only in durable events. `data` stays undecoded."""

    event: str
    channel: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    id: str = ""
    epoch: str = ""
    offset: int = 0

    def content(self) -> Any:
        """The decoded data; Pusher sends it as JSON in a string."""
        data = msgspec.json.decode(self.data)
        return msgspec.json.decode(data) if isinstance(data, str) else data


_MESSAGE: Final = msgspec.json.Decoder(Message)


@dataclass(slots=True)
class Seen:
    """What one subscriber got on one channel, repeats dropped by their id as a client would.

    `stretches` are lists of ids: being told of a loss (`recovered: false`) begins another one.
    """

    stretches: list[list[str]] = field(default_factory=lambda: [[]])
    known: set[str] = field(default_factory=set)
    position: dict[str, Any] | None = None
    repeats: int = 0
    jumps: int = 0
    """How often an event came that was not the next after the position: a hole, or disorder."""

    def take(self, message: Message) -> bool:
        """An event arrived; returns whether it is new."""
        before = self.position
        self.jumps += before is None or before["epoch"] != message.epoch or before["offset"] + 1 != message.offset
        self.position = {"epoch": message.epoch, "offset": message.offset}
        identity = intern(message.id)  # one string for all clients of this process
        if identity in self.known:
            self.repeats += 1
            return False
        self.known.add(identity)
        self.stretches[-1].append(identity)
        return True

    @property
    def ids(self) -> list[str]:
        """All of them, in the order in which they came."""
        return [identity for stretch in self.stretches for identity in stretch]

    @property
    def told_lost(self) -> int:
        """How often it was told that events may be missing."""
        return len(self.stretches) - 1


class RecoveringClient:
    """Stays on its channels through every disconnect, until cancelled.

    `port()` says where to connect to each time. `retry_seconds` is the range of the pause before a return; a gateway
    that drains (4200) is left at once, as pusher-js does. `silence_seconds` is how long a connection may be silent
    before it is pinged, and after the ping before it is given up. `receive_bytes`: see `open_link`.
    """

    def __init__(
        self,
        port: Callable[[], int],
        channels: Sequence[str],
        authorize: Authorize,
        dice: random.Random,
        *,
        recovery: Recovery = Recovery.OWN_POSITION,
        retry_seconds: tuple[float, float] = (0.02, 0.3),
        silence_seconds: float = 30.0,
        receive_bytes: int | None = None,
    ) -> None:
        self.seen = {channel: Seen() for channel in channels}
        self.foreign: list[str] = []
        """Channels of which something came although it never subscribed to them."""
        self.refused: list[str] = []
        """Channels that it was told it may not join."""
        self.connects = 0
        self.close_codes: list[int | None] = []
        self.on_event: Callable[[Message], None] | None = None
        self.recovery = recovery
        self.lost_at: float | None = None
        """Event loop time at which it lost its connection; None while it has all of its channels."""
        self.away_seconds: list[float] = []
        """For each return: from the loss of the connection until it was on all of its channels again."""
        self._port = port
        self._authorize = authorize
        self._dice = dice
        self._retry_seconds = retry_seconds
        self._silence_seconds = silence_seconds
        self.receive_bytes = receive_bytes
        """For the next connection; see `open_link`."""
        self._joined: set[str] = set()
        self._established: asyncio.Future[str] | None = None
        self._link: Link | None = None
        self._offline_until = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether it is subscribed to everything now."""
        return len(self._joined) == len(self.seen)

    @property
    def told_lost(self) -> int:
        """How often it was told of a loss, on all its channels."""
        return sum(seen.told_lost for seen in self.seen.values())

    # --- what a harness does to it ------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Drop the TCP connection without a word, as a network does."""
        if self._link is not None:
            self._link.abort()

    def leave(self) -> None:
        """Close the connection in good order."""
        if self._link is not None:
            self._link.close()

    def stop_reading(self) -> None:
        """Read nothing any more from the present connection."""
        if self._link is not None:
            self._link.stop_reading()

    def go_offline(self, seconds: float) -> None:
        """Lose the network for a while."""
        self._offline_until = asyncio.get_running_loop().time() + seconds
        self.cut()

    # --- its life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, subscribe, listen, come back."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.0, self._offline_until - loop.time()))
            with contextlib.suppress(OSError, TimeoutError):
                await self._live()
            self._joined.clear()
            is_sent_away = bool(self.close_codes) and self.close_codes[-1] in range(4200, 4300)
            if not is_sent_away and loop.time() >= self._offline_until:
                await asyncio.sleep(self._dice.uniform(*self._retry_seconds))

    async def _live(self) -> None:
        """One connection, from connecting to its end."""
        loop = asyncio.get_running_loop()
        self._established = loop.create_future()
        opening = open_link(self._port(), PATH, self._take, receive_bytes=self.receive_bytes)
        link = await asyncio.wait_for(opening, _CONNECT_SECONDS)
        self._link = link
        try:
            async with asyncio.TaskGroup() as tasks:
                joining = tasks.create_task(self._join(link, self._established))
                watching = tasks.create_task(self._watch(link))
                await link.closed.wait()
                joining.cancel()
                watching.cancel()
        except* (OSError, TimeoutError):
            pass
        finally:
            link.abort()
            self._link = None
            self.close_codes.append(link.close_code)
            if self.lost_at is None and self.connects:
                self.lost_at = link.ended_at or loop.time()

    async def _join(self, link: Link, established: asyncio.Future[str]) -> None:
        socket_id = await asyncio.wait_for(asyncio.shield(established), _CONNECT_SECONDS)
        self.connects += 1
        for channel, seen in self.seen.items():
            data: dict[str, Any] = {"channel": channel}
            if channel.startswith(("private-", "presence-")):
                data |= await self._authorize(socket_id, channel)
            if seen.position is not None and self.recovery is Recovery.OWN_POSITION:
                data["recover"] = seen.position
            link.send_json({"event": "pusher:subscribe", "data": data})

    async def _watch(self, link: Link) -> None:
        """Give up a connection that died without a word."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.05, link.heard_at + self._silence_seconds - loop.time()))
            if loop.time() - link.heard_at >= self._silence_seconds:
                link.send_text(_PING)
                pinged = loop.time()
                await asyncio.sleep(self._silence_seconds)
                if link.heard_at < pinged:
                    link.abort()
                    return

    def _take(self, text: bytes) -> None:
        message = _MESSAGE.decode(text)
        channel = message.channel
        if channel is None:
            self._take_own(message)
            return
        seen = self.seen.get(channel)
        if message.event == "pusher:subscription_error":
            self.refused.append(channel)
        elif seen is None:
            self.foreign.append(f"{channel} {message.event}")
        elif message.offset:
            if seen.take(message) and self.on_event is not None:
                self.on_event(message)
        elif message.event == "pusher_internal:subscription_succeeded":
            self._acknowledged(channel, seen, message)

    def _take_own(self, message: Message) -> None:
        """A message about the connection itself."""
        if message.event == "pusher:ping" and self._link is not None:
            self._link.send_text(_PONG)
        elif message.event == "pusher:connection_established" and self._established is not None:
            self._established.set_result(message.content()["socket_id"])

    def _acknowledged(self, channel: str, seen: Seen, message: Message) -> None:
        content = message.content()
        if "position" in content:
            seen.position = content["position"]
        if content.get("recovered") is False:
            seen.stretches.append([])
        self._joined.add(channel)
        if self.is_ready and self.lost_at is not None:
            self.away_seconds.append(asyncio.get_running_loop().time() - self.lost_at)
            self.lost_at = None


@contextlib.asynccontextmanager
async def living(clients: Sequence[RecoveringClient]) -> AsyncIterator[None]:
    """The clients run within the block."""
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
