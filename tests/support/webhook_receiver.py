"""A receiver of webhooks over plain HTTP/1.1 that answers as it is told and remembers what it got."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from .polling import eventually


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One request. Header names are lowercase; `at` is the loop's time of its arrival."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in it."""
        events: list[dict[str, Any]] = json.loads(self.body)["events"]
        return events


@dataclass(slots=True)
class WebhookReceiver:
    """Answers each request with the next of `answers` (raw HTTP), and with 200 when there is none left."""

    requests: list[WebhookRequest] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    is_stuck: bool = False
    """Take requests and answer none."""
    port: int = 0
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/webhooks"

    def will_answer(self, *statuses: int, headers: str = "") -> None:
        """Queue answers with these statuses."""
        self.answers += [
            f"HTTP/1.1 {status} Scripted\r\nContent-Length: 0\r\n{headers}\r\n".encode() for status in statuses
        ]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """All events that were taken (of these names), in order of arrival, repeats included."""
        return [event for request in self.requests for event in request.events if not names or event["name"] in names]

    async def wait_events(self, count: int, *names: str, deadline: float = 10) -> list[dict[str, Any]]:
        """Wait for at least so many events."""
        await eventually(lambda: len(self.events(*names)) >= count, deadline, what=f"{count} x {names}")
        return self.events(*names)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            self._serving.discard(task)

    async def stop(self) -> None:
        """End all connections."""
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            now = asyncio.get_running_loop().time()
            self.requests.append(WebhookRequest(first.split(" ")[1], headers, body, now))
            if self.is_stuck:
                await reader.read()
                break
            ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            writer.write(self.answers.pop(0) if self.answers else ok)
            await writer.drain()


@contextlib.asynccontextmanager
async def webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    """A receiver that listens on a free port of 127.0.0.1."""
    receiver = WebhookReceiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.stop()
