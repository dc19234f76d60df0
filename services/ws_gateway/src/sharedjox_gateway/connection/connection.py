"""One WebSocket connection: an asyncio protocol that owns its transport.

State is kept small, because there are tens of thousands of these: no timer, no task, no read buffer while idle.
Outgoing frames go through `offer`, which is the transport's own `write` while the peer keeps up, a bounded buffer while
it does not, and nothing once the connection closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from sharedjox_gateway.apps import App
from sharedjox_gateway.hub.channel import Channel
from sharedjox_gateway.protocol import messages
from sharedjox_gateway.protocol.close_codes import PusherError
from sharedjox_gateway.protocol.websocket import (
    CloseCode,
    FrameReader,
    Message,
    Opcode,
    WebSocketError,
    encode_close,
    encode_frame,
    is_utf8,
    parse_close,
)

from .sending import NO_DESCRIPTOR, UNASKED, SocketHolder

if TYPE_CHECKING:
    from sharedjox_gateway.protocol.messages import ClientMessage
    from sharedjox_gateway.protocol.quick import ReadText

SHARED_BYTES: Final = 16 * 1024
"""A replay of so many bytes is written by itself, so that all who get it wait for the same object."""
_BROKEN: Final = FrameReader(0)
"""Stands for the reader of a connection whose peer broke the framing."""


class ConnectionOwner(Protocol):
    """What a connection needs of the gateway around it."""

    max_message_bytes: int
    max_buffer_bytes: int

    @property
    def read_text(self) -> ReadText:
        """How one whole text message is read; see `protocol.quick`."""
        ...

    def received(self, connection: Connection, payload: bytes) -> None:
        """A text message arrived."""
        ...

    def ponged(self, connection: Connection, payload: bytes) -> None:
        """A WebSocket pong arrived."""
        ...

    def ended(self, connection: Connection, code: int) -> None:
        """The connection takes no more part: called once, when it begins to close or is lost."""
        ...

    def closing(self, connection: Connection) -> None:
        """The close frame was sent; abort the transport if the peer does not close within the grace."""
        ...

    def lost(self, connection: Connection) -> None:
        """The transport is gone, after `ended`."""
        ...

    def overflowed(self, connection: Connection) -> None:
        """The peer reads too slowly and is being closed."""
        ...


class Connection(SocketHolder, asyncio.Protocol):
    """See the module's docstring. Made by the entry when the upgrade is accepted."""

    __slots__ = (
        "address",
        "allowance",
        "app",
        "channels",
        "denied",
        "grant_mark",
        "is_alive",
        "is_closing",
        "is_pinged",
        "joining",
        "offer",
        "opened_at",
        "owner",
        "protocol_version",
        "reader",
        "sign_in",
        "socket_id",
        "transport",
        "whisper_budget",
    )

    socket_id: str
    offer: Callable[[bytes | memoryview], object]

    def __init__(
        self, owner: ConnectionOwner, app: App, socket_id: str, protocol_version: int, transport: asyncio.Transport
    ) -> None:
        self.owner = owner
        self.app = app
        self.address = ""
        self.socket_id = socket_id
        self.protocol_version = protocol_version
        self.transport = transport
        self.offer = transport.write
        self.fd = NO_DESCRIPTOR
        self.channels: list[Channel] = []
        self.joining: dict[str, list[ClientMessage]] | None = None
        """Channels whose subscribe is not answered yet, with the messages for them that came behind it."""
        self.denied: set[str] | None = None
        """Channels taken away by a revocation: an old signature for them is good no more."""
        self.grant_mark = 0
        """See `grants`: the mark behind which its grants stand; 0 when it joined nothing by a signature."""
        self.reader: FrameReader | None = None
        self.sign_in: object | None = None
        self.whisper_budget: tuple[float, float] | None = None
        self.is_alive = True
        self.is_pinged = False
        self.is_closing = False
        self.allowance = 0
        """Bytes that may wait besides `max_buffer_bytes`: a replay that was begun when nothing waited."""
        self.opened_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The entry handed the transport on. Limits of 0 make it say `pause_writing` as soon as it has to queue."""
        if not self.is_closing:
            self.transport.set_write_buffer_limits(high=0)
            if self.transport.get_write_buffer_size() == 0:
                self.fd = UNASKED

    # --- reading ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived. Any byte counts as a sign of life."""
        self.is_alive = True
        if self.reader is None:
            payload = self.owner.read_text(data, self.owner.max_message_bytes)
            if payload is not None:
                if not self.is_closing:
                    self.take_text(payload)
                return
            self.reader = FrameReader(self.owner.max_message_bytes)
        self._read(data)

    def _read(self, data: bytes) -> None:
        reader = self.reader
        assert reader is not None  # noqa: S101 - set by data_received
        if reader is _BROKEN:
            # The stream makes no sense any more. Closing now, with bytes unread, would reset the connection and the
            # peer would never see why; so wait for its answer to the close frame, or for the grace to end.
            if len(data) >= 6 and data[0] == 0x88 and data[1] == 0x80 | len(data) - 6:
                self.transport.close()
            return
        try:
            for message in reader.feed(data):
                self._handle(message)
        except WebSocketError as error:
            self.close(error.code, error.reason)
            self.reader = _BROKEN
            return
        if reader.is_idle:
            self.reader = None

    def _handle(self, message: Message) -> None:
        if message.opcode is Opcode.CLOSE:
            self._peer_closes(message.payload)
        elif self.is_closing:
            return
        elif message.opcode is Opcode.TEXT:
            self.take_text(message.payload)
        elif message.opcode is Opcode.PING:
            self.offer(encode_frame(message.payload, Opcode.PONG))
        elif message.opcode is Opcode.PONG:
            self.owner.ponged(self, message.payload)
        elif message.opcode is Opcode.BINARY:
            self.close(1003, "binary messages are not part of the protocol")

    def take_text(self, payload: bytes) -> None:
        """A whole text message. What is not UTF-8 ends here: passed on in an event, it would end those who get it."""
        if payload.isascii() or is_utf8(payload):
            self.owner.received(self, payload)
        else:
            self.close(CloseCode.INVALID_PAYLOAD, "text is not UTF-8")

    def _peer_closes(self, payload: bytes) -> None:
        code = parse_close(payload)
        if not self.is_closing:
            self._end(code)
            self.transport.write(encode_close(code if code != 1005 else CloseCode.NORMAL))
        self.transport.close()

    def eof_received(self) -> None:
        """asyncio: the peer sends no more; the transport closes itself."""

    # --- writing ----------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """asyncio: the peer reads slower than we write; from here every byte is counted."""
        self.fd = NO_DESCRIPTOR
        if not self.is_closing:
            self.offer = self._offer_bounded

    def resume_writing(self) -> None:
        """asyncio: the peer caught up."""
        self.allowance = 0
        if not self.is_closing:
            self.fd = UNASKED
            self.offer = self.transport.write

    def offer_replay(self, answer: bytes, data: bytes) -> None:
        """Offer an acknowledgement and the events that lie behind the client's position.

        These may be more than a buffer holds. Who reads them gets the time to, while live events are buffered as usual:
        otherwise the next one would close everybody who has much to recover, again and again.
        """
        if len(data) < SHARED_BYTES:
            self.offer(answer + data)
            return
        waiting = self.transport.get_write_buffer_size
        if waiting() == 0:
            self.allowance = len(data)
        self.offer(answer)
        self.offer(data)
        if waiting() == 0:
            self.allowance = 0

    def _offer_bounded(self, data: bytes | memoryview) -> None:
        limit = self.owner.max_buffer_bytes + self.allowance
        if self.transport.get_write_buffer_size() + len(data) > limit:
            self.owner.overflowed(self)
            self.refuse(PusherError.SLOW_CONSUMER)
        else:
            self.transport.write(data)

    def ping(self) -> None:
        """Ask for a sign of life, on both levels: browsers answer one by themselves, other clients the other."""
        self.is_pinged = True
        self.offer(encode_frame(b"", Opcode.PING) + messages.PING)

    # --- closing ----------------------------------------------------------------------------------------------------

    def refuse(self, error: PusherError, text: str | None = None) -> None:
        """Send `pusher:error` and the close frame with the same code: right for protocols 5 to 7."""
        self.refuse_with(error.code, text or error.text)

    def refuse_with(self, code: int, reason: str) -> None:
        """`refuse` with a code from 4000 to 4999 that somebody else chose."""
        if not self.is_closing:
            self._end(code)
            self.transport.write(messages.error_frame(code, reason) + encode_close(code, reason))
            self.owner.closing(self)

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; the peer's answer, or the owner's grace, ends the transport."""
        if not self.is_closing:
            self._end(code)
            self.transport.write(encode_close(code, reason))
            self.owner.closing(self)

    def abort(self) -> None:
        """Drop the transport without a word."""
        self._end(1006)
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: the transport is gone."""
        self._end(1006)
        self.reader = None
        self.owner.lost(self)

    def _end(self, code: int) -> None:
        if not self.is_closing:
            self.is_closing = True
            self.fd = NO_DESCRIPTOR
            self.offer = _discard
            self.owner.ended(self, code)


def _discard(_data: bytes | memoryview) -> None:
    return
