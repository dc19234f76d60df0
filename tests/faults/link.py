"""A WebSocket connection to a gateway, light enough for thousands of them in one process.

It understands what our gateway sends and no more: unmasked, unfragmented frames. Any other frame ends the connection
and is remembered in `protocol_errors`, so that a harness fails on it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

_UPGRADE: Final = (
    "GET {path} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_NO_MASK: Final = b"\0\0\0\0"
"""A client must mask; masking with zeros leaves the payload as it is."""
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA

protocol_errors: list[str] = []
"""What no client could have understood, of all links of this process."""


class Link(asyncio.Protocol):
    """One connection. `on_text` gets each message, `closed` is set when the connection is gone."""

    __slots__ = (
        "_buffer",
        "_is_open",
        "_on_text",
        "_path",
        "_transport",
        "close_code",
        "closed",
        "ended_at",
        "heard_at",
    )

    def __init__(self, path: str, on_text: Callable[[bytes], None]) -> None:
        self._path = path
        self._on_text = on_text
        self._buffer = b""
        self._is_open = False
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()
        self.close_code: int | None = None
        self.heard_at = 0.0
        """Event loop time at which bytes came last."""
        self.ended_at: float | None = None
        """Event loop time at which the server closed or the connection was lost, whichever came first."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self.heard_at = asyncio.get_running_loop().time()
        self._transport.write(_UPGRADE.format(path=self._path).encode())

    def connection_lost(self, error: Exception | None) -> None:
        """The end."""
        self._transport = None
        self._note_end()
        self.closed.set()

    def _note_end(self) -> None:
        if self.ended_at is None:
            self.ended_at = asyncio.get_running_loop().time()

    def data_received(self, data: bytes) -> None:
        """Whole frames are handled, the rest waits for more."""
        self.heard_at = asyncio.get_running_loop().time()
        buffer = self._buffer + data if self._buffer else data
        if not self._is_open:
            head, found, buffer = buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if b" 101 " not in head[:20]:  # refused: a gateway that drains or is not ready
                self.abort()
                return
            self._is_open = True
        self._buffer = buffer[self._take_frames(buffer) :]

    def _take_frames(self, buffer: bytes) -> int:
        """Handle the whole frames in `buffer`; returns where the first incomplete one begins."""
        at, end = 0, len(buffer)
        while end - at >= 2 and self._transport is not None:
            length, start = buffer[at + 1], at + 2
            if length >= 126:
                size = 2 if length == 126 else 8
                if end - start < size:
                    break
                length, start = int.from_bytes(buffer[start : start + size], "big"), start + size
            if end - start < length:
                break
            self._take(buffer[at], buffer[start : start + length])
            at = start + length
        return at

    def _take(self, first: int, payload: bytes) -> None:
        if first == 0x80 | _TEXT:
            self._on_text(payload)
        elif first == 0x80 | _PING:
            self._send(_PONG, payload)
        elif first == 0x80 | _CLOSE:
            self._note_end()
            self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self._send(_CLOSE, payload[:2])
            if self._transport is not None:
                self._transport.close()
        elif first != 0x80 | _PONG:
            protocol_errors.append(f"a frame that begins with {first:#x}")
            self.abort()

    def send_text(self, text: bytes) -> None:
        """Send one message; nothing happens on a closed connection."""
        self._send(_TEXT, text)

    def send_json(self, message: Any) -> None:
        """Send one message as JSON."""
        self._send(_TEXT, msgspec.json.encode(message))

    def _send(self, opcode: int, payload: bytes) -> None:
        if self._transport is None:
            return
        length = len(payload)
        head = bytes((0x80 | opcode, 0x80 | (length if length < 126 else 126)))
        if length >= 126:
            head += length.to_bytes(2, "big")
        self._transport.write(head + _NO_MASK + payload)

    def stop_reading(self) -> None:
        """Read nothing any more, as a client that hangs."""
        if self._transport is not None:
            self._transport.pause_reading()

    def close(self) -> None:
        """Close in good order, without waiting for the answer."""
        self._send(_CLOSE, (1000).to_bytes(2, "big"))
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection without a word, as a network does."""
        if self._transport is not None:
            self._transport.abort()


async def open_link(
    port: int, path: str, on_text: Callable[[bytes], None], *, receive_bytes: int | None = None
) -> Link:
    """Connect to 127.0.0.1:`port` and ask for the upgrade. `receive_bytes`: the kernel's buffer for what comes.

    Raises: OSError.
    """
    loop = asyncio.get_running_loop()
    if receive_bytes is None:
        _transport, link = await loop.create_connection(lambda: Link(path, on_text), "127.0.0.1", port)
        return link
    end = socket.socket()
    try:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await loop.sock_connect(end, ("127.0.0.1", port))
        _transport, link = await loop.create_connection(lambda: Link(path, on_text), sock=end)
    except BaseException:
        end.close()
        raise
    return link
