"""The first bytes of a TCP connection decide what it is: a WebSocket, or HTTP for FastAPI.

WebSockets never touch the HTTP server: parsing the head here and switching the transport's protocol costs a third of
going through it, and what stays in memory is one `Connection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from sharedjox_gateway.protocol.handshake import (
    MAX_HEAD_BYTES,
    BadHandshakeError,
    UpgradeRequest,
    error_response,
    is_upgrade,
    parse_upgrade,
)
from sharedjox_gateway.protocol.quick import ReadUpgrade

HttpProtocolFactory = Callable[[bytes], asyncio.Protocol]
"""Makes the protocol for an HTTP connection whose first bytes are given: at least the first request's line."""


class EntryOwner(Protocol):
    """What an entry needs of the gateway."""

    read_upgrade: ReadUpgrade
    """How a plain upgrade request is read; see `protocol.quick`."""

    def upgrade(self, request: UpgradeRequest, transport: asyncio.Transport) -> asyncio.Protocol:
        """Accept a WebSocket on `transport`; the returned protocol gets all further bytes."""
        ...

    def entered(self, entry: Entry) -> None:
        """A TCP connection was accepted; abort it if it says nothing sensible in time."""
        ...

    def left(self, entry: Entry) -> None:
        """The entry was handed on or lost."""
        ...


class Entry(asyncio.Protocol):
    """Reads a request head, then hands the transport on."""

    __slots__ = ("_buffer", "_make_http", "_owner", "transport")

    def __init__(self, owner: EntryOwner, make_http: HttpProtocolFactory) -> None:
        self._owner = owner
        self._make_http = make_http
        self._buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a peer connected."""
        self.transport = transport  # type: ignore[assignment]  # uvloop's are none by inheritance; a cast is a call
        self._owner.entered(self)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: gone before it said what it wanted."""
        self._owner.left(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: part of a request head, or all of it."""
        if not self._buffer:
            request = self._owner.read_upgrade(data)
            if request is not None:
                self._accept(request, b"")
                return
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if _is_undecided(buffer):
                self._buffer = buffer
            else:
                self._to_http(buffer)
            return
        head = buffer[: end + 4]
        if is_upgrade(head):
            self._to_websocket(head, buffer[end + 4 :])
        else:
            self._to_http(buffer)

    def _to_http(self, data: bytes) -> None:
        transport = self._hand_on()
        protocol = self._make_http(data)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def _to_websocket(self, head: bytes, rest: bytes) -> None:
        try:
            if len(head) > MAX_HEAD_BYTES:
                raise BadHandshakeError(431, "Request Header Fields Too Large")
            request = parse_upgrade(head)
        except BadHandshakeError as error:
            transport = self._hand_on()
            transport.write(error_response(error.status, error.reason))
            transport.close()
            return
        self._accept(request, rest)

    def _accept(self, request: UpgradeRequest, rest: bytes) -> None:
        transport = self._hand_on()
        protocol = self._owner.upgrade(request, transport)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest:
            protocol.data_received(rest)

    def _hand_on(self) -> asyncio.Transport:
        assert self.transport is not None  # noqa: S101 - bytes come after connection_made
        self._owner.left(self)
        self._buffer = b""
        return self.transport


def _is_undecided(data: bytes) -> bool:
    """Whether these first bytes could still become an upgrade, or do not name a path yet."""
    return len(data) <= MAX_HEAD_BYTES and (b"\n" not in data or data.startswith(b"GET "))
