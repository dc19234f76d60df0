"""WebSocket framing, sans I/O (RFC 6455). Bytes in, messages out; the caller owns the socket.

The server side only: frames that arrive must be masked, frames that leave are not. No extension is negotiated, so every
reserved bit is an error. Outgoing frames are plain `bytes`, built once and shared by all recipients.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from msgspec import Struct
from websockets.speedups import apply_mask


class Opcode(IntEnum):
    """RFC 6455 section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """The codes of RFC 6455 section 7.4.1 that this server sends."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009


class WebSocketError(Exception):
    """The peer broke the framing rules: close with `code` and stop reading."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_EMPTY_SHA1: Final = hashlib.sha1(usedforsecurity=False)
"""Copied, because OpenSSL takes longer to set one up than to hash a key."""
MAX_CONTROL_PAYLOAD: Final = 125
_HEAD_7: Final = struct.Struct("!BB").pack
_HEAD_16: Final = struct.Struct("!BBH").pack
_HEAD_64: Final = struct.Struct("!BBQ").pack
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F


def accept_key(key: bytes) -> bytes:
    """The `Sec-WebSocket-Accept` value for a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2)."""
    sha1 = _EMPTY_SHA1.copy()
    sha1.update(key + _GUID)
    return binascii.b2a_base64(sha1.digest(), newline=False)


def is_valid_key(key: bytes) -> bool:
    """Whether a `Sec-WebSocket-Key` is the base64 of 16 bytes."""
    try:
        return len(key) == 24 and len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except ValueError:
        return False


def encode_frame(payload: bytes, opcode: int = Opcode.TEXT) -> bytes:
    """One final, unmasked frame."""
    length = len(payload)
    if length < 126:
        return _HEAD_7(_FIN | opcode, length) + payload
    if length < 65536:
        return _HEAD_16(_FIN | opcode, 126, length) + payload
    return _HEAD_64(_FIN | opcode, 127, length) + payload


def payload_of(frame: bytes) -> bytes:
    """What `encode_frame` was given."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame. The reason is cut to the 123 bytes that fit, never inside a character."""
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return encode_frame(code.to_bytes(2, "big") + text, Opcode.CLOSE)


def parse_close(payload: bytes) -> int:
    """The code of a received close frame; 1005 when it carries none.

    Raises: WebSocketError for a code or reason that RFC 6455 section 7.4 forbids.
    """
    if not payload:
        return 1005
    if len(payload) == 1:
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "close payload of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "close code not allowed on the wire")
    if not is_utf8(payload[2:]):
        raise WebSocketError(CloseCode.INVALID_PAYLOAD, "close reason is not UTF-8")
    return code


def is_utf8(payload: bytes) -> bool:
    """Whether these bytes are UTF-8 (RFC 6455 section 8.1 asks it of text messages and close reasons)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_single_text(data: bytes, max_size: int) -> bytes | None:
    """The payload, when `data` is exactly one final, masked text frame below 64 KB; None for anything else.

    Nearly every read is this one case. It needs no parser and leaves no state behind; whatever does not match goes
    through `FrameReader`. Whether it is UTF-8 is the caller's to check, as with the reader.
    """
    length = len(data) - 6
    if length < 0 or data[0] != 0x81:
        return None
    if length < 126:
        return apply_mask(data[6:], data[2:6]) if data[1] == 0x80 | length and length <= max_size else None
    length -= 2
    if 126 <= length < 65536 and length <= max_size and data[1] == 0xFE and data[2] << 8 | data[3] == length:
        return apply_mask(data[8:], data[4:8])
    return None


class Message(Struct, frozen=True, gc=False):
    """A whole data message (TEXT, BINARY) or control frame (CLOSE, PING, PONG)."""

    opcode: Opcode
    payload: bytes


class FrameReader:
    """Reassembles messages from a byte stream: partial reads, fragmentation, control frames in between.

    `feed` gives the messages that became whole, in order. It raises WebSocketError at the first breach; the reader is
    of no use afterwards. Memory: at most `max_size` of one message plus the bytes of one incomplete frame.
    """

    __slots__ = ("_buffer", "_fragments", "_fragments_size", "_max_size", "_opcode")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._buffer = bytearray()
        self._fragments: list[bytes] = []
        self._fragments_size = 0
        self._opcode: Opcode | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is half received, so that the reader may be dropped."""
        return not self._buffer and self._opcode is None

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take what arrived; each message is given as soon as it is read, those before a breach too.

        Iterate to the end before feeding again. Raises: WebSocketError at the first breach.
        """
        buffer = self._buffer
        buffer += data
        position = 0
        try:
            while (frame := self._next_frame(buffer, position)) is not None:
                is_final, opcode, payload, position = frame
                message = self._assemble(is_final, opcode, payload)
                if message is not None:
                    yield message
                    if message.opcode is Opcode.CLOSE:
                        return  # nothing after a close frame is looked at (RFC 6455 section 5.5.1)
        finally:
            del buffer[:position]

    def _next_frame(self, buffer: bytearray, start: int) -> tuple[bool, Opcode, bytes, int] | None:
        available = len(buffer) - start
        if available < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        opcode = self._check_head(first, second)
        length = second & _LENGTH
        header = 2
        if length == 126:
            header = 4
        elif length == 127:
            header = 10
        if available < header:
            return None
        if header > 2:
            length = int.from_bytes(buffer[start + 2 : start + header], "big")
            if length >> 63:
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "length with the highest bit set")
        if length + self._fragments_size > self._max_size and opcode < Opcode.CLOSE:
            raise WebSocketError(CloseCode.TOO_BIG, f"message over {self._max_size} bytes")
        end = start + header + 4 + length
        if len(buffer) < end:
            return None
        mask = bytes(buffer[start + header : start + header + 4])
        payload = apply_mask(bytes(buffer[start + header + 4 : end]), mask)
        return bool(first & _FIN), opcode, payload, end

    @staticmethod
    def _check_head(first: int, second: int) -> Opcode:
        if first & _RESERVED:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "reserved bit set")
        try:
            opcode = Opcode(first & _OPCODE)
        except ValueError as error:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "unknown opcode") from error
        if not second & _MASKED:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "frame not masked")
        if opcode >= Opcode.CLOSE:
            if not first & _FIN:
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "fragmented control frame")
            if second & _LENGTH > MAX_CONTROL_PAYLOAD:
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "control frame over 125 bytes")
        return opcode

    def _assemble(self, is_final: bool, opcode: Opcode, payload: bytes) -> Message | None:
        if opcode >= Opcode.CLOSE:
            return Message(opcode, payload)
        if opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "continuation of nothing")
        elif self._opcode is not None:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "new message inside a fragmented one")
        else:
            self._opcode = opcode
        if not is_final:
            self._fragments.append(payload)
            self._fragments_size += len(payload)
            return None
        if self._fragments:
            payload = b"".join((*self._fragments, payload))
            self._fragments.clear()
            self._fragments_size = 0
        whole, self._opcode = Message(self._opcode, payload), None
        return whole
