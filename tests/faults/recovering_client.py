"""A subscriber that recovers as the web client does: it keeps its position and asks for what it missed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

Authorize = Callable[[str, str], Awaitable[str]]
"""Asks the api for the `auth` of (socket id, channel); raises OSError while it cannot be had."""

_LOST = (OSError, TimeoutError, EOFError, ConnectionClosed, InvalidHandshake, InvalidMessage)


@dataclass(slots=True)
class Seen:
    """What one subscriber got on one channel."""

    ids: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    position: dict[str, Any] | None = None
    repeats: int = 0
    told_lost: int = 0

    def take(self, message: dict[str, Any]) -> None:
        """An event arrived: drop a repeat by its id, as a client would."""
        self.position = {"epoch": message["epoch"], "offset": message["offset"]}
        if message["id"] in self.known:
            self.repeats += 1
            return
        self.known.add(message["id"])
        self.ids.append(message["id"])


class RecoveringClient:
    """Stays on its channels through every disconnect, until cancelled."""

    def __init__(self, url: str, channels: list[str], authorize: Authorize, dice: random.Random) -> None:
        self.url = url
        self.seen = {channel: Seen() for channel in channels}
        self.foreign: list[str] = []
        """Channels of which events came although it never subscribed to them."""
        self.connects = 0
        self._joined: set[str] = set()
        self._authorize = authorize
        self._dice = dice
        self._socket: ClientConnection | None = None
        self._offline_until = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether it is subscribed to everything now."""
        return self._joined == set(self.seen)

    def cut(self) -> None:
        """Drop the TCP connection without a word, as a network does."""
        if self._socket is not None:
            self._socket.transport.abort()

    def go_offline(self, seconds: float) -> None:
        """Lose the network for a while."""
        self._offline_until = time.monotonic() + seconds
        self.cut()

    async def run(self) -> None:
        """Connect, subscribe, listen, come back."""
        while True:
            await asyncio.sleep(max(0.0, self._offline_until - time.monotonic()))
            with contextlib.suppress(*_LOST):
                async with connect(self.url, open_timeout=5, close_timeout=1, proxy=None, compression=None) as socket:
                    self._socket = socket
                    await self._live(socket)
            self._socket = None
            self._joined.clear()
            if time.monotonic() >= self._offline_until:
                await asyncio.sleep(self._dice.uniform(0.02, 0.3))

    async def _live(self, socket: ClientConnection) -> None:
        established = json.loads(await asyncio.wait_for(socket.recv(), 5))
        if established["event"] != "pusher:connection_established":
            return
        self.connects += 1
        socket_id = json.loads(established["data"])["socket_id"]
        for channel, seen in self.seen.items():
            data: dict[str, Any] = {"channel": channel}
            if channel.startswith("private-"):
                data["auth"] = await self._authorize(socket_id, channel)
            if seen.position is not None:
                data["recover"] = seen.position
            await socket.send(json.dumps({"event": "pusher:subscribe", "data": data}))
        async for text in socket:
            self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        channel = message.get("channel")
        if channel is None:
            return
        seen = self.seen.get(channel)
        if seen is None:
            self.foreign.append(channel)
        elif message["event"] == "pusher_internal:subscription_succeeded":
            data = json.loads(message["data"])
            seen.position = data["position"]
            seen.told_lost += data.get("recovered") is False
            self._joined.add(channel)
        elif "offset" in message:
            seen.take(message)
