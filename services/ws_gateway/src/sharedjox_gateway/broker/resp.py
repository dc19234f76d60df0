"""A pipelined Redis connection on the event loop: no task, future or lock per command.

redis-py costs some 50 microseconds per command and 20 per pub/sub message in Python; the gateway's hot path has 25 for
everything. Commands of one loop turn leave in one write; replies call back in order; parsing is hiredis' (C).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
from sharedjox_kit.redis_address import RedisAddress

Reply = Any
ReplyHandler = Callable[[Reply], None]
MAX_UNSENT_BYTES: Final = 64 * 1024 * 1024


class RespConnection(asyncio.Protocol):
    """One connection. Replies without a waiting handler go to `on_push` (pub/sub messages)."""

    def __init__(self, on_push: ReplyHandler, on_lost: Callable[[], None]) -> None:
        self._on_push = on_push
        self._on_lost = on_lost
        self._reader = hiredis.Reader()
        self._handlers: deque[ReplyHandler] = deque()
        self._outgoing: list[bytes] = []
        self._producers: list[Callable[[], None]] = []
        self._is_flush_due = False
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._feed: Callable[[bytes], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection stands."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        """asyncio: replies or pub/sub messages arrived; hand all that are complete on."""
        if self._feed is not None:
            self._feed(data)
            return
        self._reader.feed(data)
        gets, handlers, on_push = self._reader.gets, self._handlers, self._on_push
        while (reply := gets()) is not False:
            if handlers:
                handlers.popleft()(reply)
            else:
                on_push(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: the connection is gone; every command in flight gets an error reply."""
        self._transport = None
        handlers, self._handlers = self._handlers, deque()
        lost = ConnectionError("connection to Redis lost")
        for handler in handlers:
            handler(lost)
        self._on_lost()

    def listen(self, feed: Callable[[bytes], None]) -> None:
        """From now on everything that is read goes to `feed`: the connection is used for subscriptions only."""
        self._feed = feed

    def send(self, handler: ReplyHandler | None, *command: bytes | str | int) -> None:
        """Queue a command for this loop turn's write. `handler` gets the reply, which may be an exception object.

        On a listening connection no handler is kept. A connection that is lost answers ConnectionError soon.
        """
        self.send_packed(handler, hiredis.pack_command(command))  # type: ignore[arg-type]  # stub says 1-tuple

    def send_packed(self, handler: ReplyHandler | None, command: bytes) -> None:
        """Like `send`, for a command that its sender has put into the form of the wire."""
        if self._transport is None:
            if handler is not None:
                self._loop.call_soon(handler, ConnectionError("not connected to Redis"))
            return
        if self._feed is None:
            self._handlers.append(handler or _ignore)
        self._outgoing.append(command)
        self._flush_soon()

    def before_write(self, produce: Callable[[], None]) -> None:
        """Call `produce` once, right before this loop turn's write: what it sends still leaves with it."""
        self._producers.append(produce)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        producers, self._producers = self._producers, []
        try:
            for produce in producers:
                produce()
        finally:
            self._is_flush_due = False  # whatever one of them raised: what is sent next must leave
        outgoing, self._outgoing = self._outgoing, []
        if self._transport is None or not outgoing:
            return
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.abort()  # Redis does not read: treat it as away rather than fill the memory
            return
        self._transport.write(b"".join(outgoing))

    def call(self, *command: bytes | str | int) -> asyncio.Future[Reply]:
        """Send one command and await its reply; an error reply is raised."""
        future: asyncio.Future[Reply] = self._loop.create_future()

        def answer(reply: Reply) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.send(answer, *command)
        return future

    def abort(self) -> None:
        """Drop the connection now."""
        if self._transport is not None:
            self._transport.abort()


def _ignore(_reply: Reply) -> None:
    return


async def connect(
    address: RedisAddress, on_push: ReplyHandler, on_lost: Callable[[], None], *, timeout_seconds: float = 5.0
) -> RespConnection:
    """Connect, log in, select the database. Raises: OSError, TimeoutError, hiredis.HiredisError."""
    loop = asyncio.get_running_loop()
    connection = RespConnection(on_push, on_lost)
    async with asyncio.timeout(timeout_seconds):
        if address.path:
            await loop.create_unix_connection(lambda: connection, address.path)
        else:
            context = ssl.create_default_context() if address.use_tls else None
            await loop.create_connection(lambda: connection, address.host, address.port, ssl=context)
        try:
            if address.password:
                login = (address.username, address.password) if address.username else (address.password,)
                await connection.call("AUTH", *login)
            if address.database:
                await connection.call("SELECT", address.database)
            await connection.call("PING")
        except BaseException:
            connection.abort()
            raise
    return connection
