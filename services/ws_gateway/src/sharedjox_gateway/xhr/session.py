"""One fallback session: the queue between a `Connection` and the client's receive requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
from sharedjox_contracts.codec import encode_json, encode_json_text

from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.protocol.websocket import CloseCode, Opcode

HEARTBEAT_SECONDS: Final = 25.0
"""Of silence on a receive request; proxies give up on silent responses after 30 seconds or more."""
ABSENCE_SECONDS: Final = 10.0
"""A session without an open receive request for this long has lost its client."""
MAX_SEND_MESSAGES: Final = 100
_OPEN: Final = b"o\n"
_HEARTBEAT: Final = b"h\n"
_ACTIVITY: Final = b"a[]\n"
_MESSAGES: Final = msgspec.json.Decoder(list[str])


class BadSendError(ValueError):
    """The body of an `xhr_send` is not a JSON array of strings."""


class XhrSession:
    """Looks like an `asyncio.Transport` to its connection: `write` takes WebSocket frames and queues their messages."""

    def __init__(self, name: str, on_ended: Callable[[XhrSession], None], peer: tuple[str, int]) -> None:
        self.name = name
        self.connection: Connection
        self._on_ended = on_ended
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._messages: list[str] = []
        self._control: list[bytes] = [_OPEN]
        self._queued_bytes = 0
        self._closing: bytes | None = None
        self._is_over = False
        self._news = asyncio.Event()
        self._receiver = 0
        self._absent_since: float | None = self._loop.time()
        self._unanswered_heartbeats = 0
        self._ping_payload = b""

    def attach(self, connection: Connection) -> None:
        """Name the connection above. Its writes are bounded by what is queued here, always."""
        self.connection = connection
        connection.pause_writing()

    # --- what a Connection asks of its transport ----------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Take complete server frames."""
        data = bytes(data)
        position = 0
        while position < len(data) and not self._is_over:
            opcode = data[position] & 0x0F
            length, head = data[position + 1], 2
            if length == 126:
                length, head = int.from_bytes(data[position + 2 : position + 4], "big"), 4
            elif length == 127:
                length, head = int.from_bytes(data[position + 2 : position + 10], "big"), 10
            start = position + head
            self._take(opcode, data[start : start + length])
            position = start + length
        self._news.set()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.TEXT:
            self._messages.append(payload.decode())
            self._queued_bytes += len(payload)
        elif opcode == Opcode.PING:
            self._ping_payload = payload
            self._control.append(_HEARTBEAT)
        elif opcode == Opcode.CLOSE:
            self._closing = _close_line(payload)

    def get_write_buffer_size(self) -> int:
        """Bytes that no receive request has taken yet."""
        return self._queued_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing to set: the connection counts for itself."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The peer's address; there is no socket to write to directly."""
        return self._peer if name == "peername" else default

    def is_closing(self) -> bool:
        """Whether the session takes no more."""
        return self._is_over or self._closing is not None

    def close(self) -> None:
        """End when the queue has been received."""
        if self._closing is None:
            self._closing = _close_line(CloseCode.NORMAL.to_bytes(2, "big"))
        self._news.set()

    def abort(self) -> None:
        """End now."""
        if not self._is_over:
            self._is_over = True
            self._news.set()
            self._on_ended(self)
            self._loop.call_soon(self.connection.connection_lost, None)

    # --- requests -----------------------------------------------------------------------------------------------------

    def take_over(self) -> int:
        """A receive request arrived: the one before it, if any, ends. Returns the number to receive with."""
        self._receiver += 1
        self._absent_since = None
        self._news.set()
        self._answered_ping()
        return self._receiver

    async def stream(self, receiver: int) -> AsyncIterator[bytes]:
        """All frames from now on, until the session ends or another request takes over."""
        try:
            while chunk := await self._next(receiver):
                yield chunk
        finally:
            self._gone(receiver)

    async def poll(self, receiver: int) -> AsyncIterator[bytes]:
        """One chunk: what is queued, or the next thing that comes, or a heartbeat."""
        try:
            yield await self._next(receiver)
        finally:
            self._gone(receiver)

    async def _next(self, receiver: int) -> bytes:
        """The next chunk; empty when this receiver is over."""
        while receiver == self._receiver and not self._is_over:
            self._news.clear()
            if chunk := self._drain():
                return chunk
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                self._unanswered_heartbeats += 1
                return _HEARTBEAT
        return b""

    def _drain(self) -> bytes:
        parts, self._control = self._control, []
        self._unanswered_heartbeats += parts.count(_HEARTBEAT)
        if self._messages:
            parts.append(b"a%s\n" % encode_json(self._messages))
            self._messages = []
            self._queued_bytes = 0
        if self._closing is not None and not self._is_over:
            parts.append(self._closing)
            self.abort()
        return b"".join(parts)

    def _gone(self, receiver: int) -> None:
        if receiver == self._receiver:
            self._absent_since = self._loop.time()

    def sent(self, body: bytes) -> None:
        """An `xhr_send` arrived. Raises: BadSendError."""
        try:
            messages = _MESSAGES.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise BadSendError(str(error)) from error
        if len(messages) > MAX_SEND_MESSAGES:
            msg = f"more than {MAX_SEND_MESSAGES} messages in one request"
            raise BadSendError(msg)
        connection = self.connection
        connection.is_alive = True
        if not messages:
            self._heard_heartbeat()
        for message in messages:
            if connection.is_closing:
                return
            payload = message.encode()
            if len(payload) > connection.owner.max_message_bytes:
                connection.close(CloseCode.TOO_BIG, "message too big")
            else:
                connection.owner.received(connection, payload)

    def _heard_heartbeat(self) -> None:
        """`[]`: the answer to a heartbeat, or the client's own ping, which any frame answers."""
        self._answered_ping()
        if self._unanswered_heartbeats:
            self._unanswered_heartbeats -= 1
        else:
            self._control.append(_ACTIVITY)
            self._news.set()

    def _answered_ping(self) -> None:
        """Whoever asks for more, or answers a heartbeat, has received what was sent before."""
        payload, self._ping_payload = self._ping_payload, b""
        if payload and _HEARTBEAT not in self._control and not self._messages:
            self.connection.owner.ponged(self.connection, payload)

    def expire(self, now: float) -> None:
        """End the session if its client has been away for too long."""
        if self._absent_since is not None and now - self._absent_since > ABSENCE_SECONDS:
            self.abort()


def _close_line(payload: bytes) -> bytes:
    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
    return b"c[%d,%s]\n" % (code, encode_json_text(payload[2:].decode()).encode())
