"""WebSocket frames, sound and unsound, and what RFC 6455 makes of them by another implementation's judgement."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from websockets.frames import CloseCode, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask

from tests.support.frames import masked

HEADS: Final = [
    *(first | opcode for opcode in range(16) for first in (0x00, 0x80)),
    *(0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0x81, 0x80, 0x01),
    *(0xC1, 0xA1, 0x91, 0xF1),
]
GOOD_CODES: Final = [1000, 1001, 1003, 1007, 1011, 3000, 4200, 4999]
BAD_CODES: Final = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]
NOT_UTF8: Final = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80"]
BINARY_CODE: Final = 1003
NOT_UTF8_CODE: Final = 1007
TOO_BIG_CODE: Final = 1009


def random_frame(dice: random.Random, max_size: int) -> bytes:
    """One frame, mostly sound in its length so that what follows it is looked at too."""
    first = dice.choice(HEADS)
    is_control = bool(first & 0x08)
    sizes = [0, 1, 2, 3, 20, 124, 125, 126, 127, 200, max_size - 1, max_size]
    # A control frame over the limit breaks two rules at once, and each implementation may name the other one.
    size = dice.choice(sizes[:10] if is_control else [*sizes, max_size + 1])
    payload = _payload(dice, size)
    if first & 0x0F == Opcode.CLOSE:
        payload = _close_payload(dice, payload)
    return _head(dice, first, len(payload), is_control=is_control) + _body(dice, payload)


_IS_MASKED: Final = 0x80


def _payload(dice: random.Random, size: int) -> bytes:
    if dice.random() < 0.3:
        return dice.randbytes(size)
    text = b"x" * size
    if size > 8 and dice.random() < 0.2:
        bad = dice.choice(NOT_UTF8)
        return text[: size - len(bad)] + bad
    return text


def _close_payload(dice: random.Random, payload: bytes) -> bytes:
    """One breach at a time: a bad code comes with a reason that is sound."""
    if dice.random() < 0.2:
        return payload[: dice.randint(0, 1)]
    if dice.random() < 0.5:
        return dice.choice(BAD_CODES).to_bytes(2, "big") + b"r" * dice.randrange(123)
    return dice.choice(GOOD_CODES).to_bytes(2, "big") + payload[:123]


def _head(dice: random.Random, first: int, length: int, *, is_control: bool) -> bytes:
    form = dice.random()
    mask_bit = _IS_MASKED if dice.random() < 0.97 else 0
    if form < 0.02 and not is_control:
        return bytes((first, mask_bit | 127)) + (1 << 40).to_bytes(8, "big")
    if form < 0.05 and not is_control:
        return bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")
    if length > 125 or (form < 0.08 and not is_control):
        return bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    return bytes((first, mask_bit | length))


def _body(dice: random.Random, payload: bytes) -> bytes:
    mask = dice.randbytes(4)
    return mask + apply_mask(payload, mask)


def random_stream(dice: random.Random, max_size: int, end: bytes) -> bytes:
    """A few frames in a row: half of the time anything, else something sound with a breach somewhere behind it.

    `end` is put behind them, and now and then the whole is cut off before it.
    """
    if dice.random() < 0.5:
        frames = [random_frame(dice, max_size) for _ in range(dice.randint(1, 4))]
    else:
        frames = [_sound(dice, max_size) for _ in range(dice.randint(1, 3))]
        frames += [random_frame(dice, max_size) for _ in range(dice.choice([0, 1, 1, 1, 2]))]
    if dice.random() < 0.8:
        # A peer that closes sends nothing behind it. One that does may lose the answer: see `was_reset` of `Wire`.
        for place, frame in enumerate(frames):
            if frame[0] & 0x0F == Opcode.CLOSE:
                return b"".join(frames[: place + 1])
    stream = b"".join(frames)
    return (stream if dice.random() < 0.9 else stream[: dice.randrange(len(stream))]) + end


_SOUND_TEXTS: Final = ["", "x", "é✓\U0001f600" * 5, '{"event":"pusher:ping","data":{}}', "y" * 126]


def _sound(dice: random.Random, max_size: int) -> bytes:
    """One whole message, in fragments cut inside characters too, with control frames between them; or one of those."""

    def control() -> bytes:
        first = dice.choice([0x80 | Opcode.PING, 0x80 | Opcode.PONG])
        return masked(first, dice.randbytes(dice.choice([0, 4, 125])), dice.randbytes(4))

    kind = dice.random()
    if kind < 0.2:
        return control()
    payload = dice.choice([*_SOUND_TEXTS, "z" * max_size]).encode()
    if kind < 0.5:
        return masked(0x81, payload, dice.randbytes(4))
    places = sorted(dice.randint(0, len(payload)) for _ in range(dice.randint(1, 3)))
    pieces = [payload[start:end] for start, end in zip([0, *places], [*places, len(payload)], strict=True)]
    frames: list[bytes] = []
    for number, piece in enumerate(pieces):
        first = (0 if number else Opcode.TEXT) | (0x80 if number == len(pieces) - 1 else 0)
        frames.append(masked(first, piece, dice.randbytes(4)))
        # Not between fragments of a message at the limit: see `agrees`.
        if dice.random() < 0.3 and len(payload) < max_size:
            frames.append(control())
    return b"".join(frames)


@dataclass(frozen=True, slots=True)
class End:
    """How a server owes a stream to end: with which close code (None while it owes none), and for whose fault."""

    code: int | None
    is_breach: bool
    """Whether the stream broke a rule, rather than closed."""
    has_close: bool = False
    """Whether there is a close frame of the peer in it."""
    pings: tuple[bytes, ...] = ()
    """What must have been answered before."""
    other_code: int | None = None
    """The code for a second breach in the same frame: which of the two is named is left open."""


def expected_end(stream: bytes, max_size: int | None) -> End:
    """What a server owes this stream.

    The framing is judged by the `websockets` library. It leaves two things to its caller, which are judged here, in the
    order of the messages: text that is not UTF-8 (RFC 6455 section 8.1), and binary, which Pusher's protocol has not.
    """
    protocol = ServerProtocol(state=OPEN, max_size=max_size)
    protocol.receive_data(stream)
    opcode: Opcode | None = None
    parts: list[bytes] = []
    pings: list[bytes] = []
    events = protocol.events_received()
    has_close = any(event.opcode is Opcode.CLOSE for event in events)  # type: ignore[union-attr]
    for event in events:
        frame_opcode, payload, is_final = event.opcode, bytes(event.data), event.fin  # type: ignore[union-attr]
        if frame_opcode is Opcode.CLOSE:
            break
        if frame_opcode in (Opcode.PING, Opcode.PONG):
            pings += [payload] if frame_opcode is Opcode.PING else []
            continue
        if frame_opcode is not Opcode.CONT:
            opcode, parts = frame_opcode, []
        parts.append(payload)
        if is_final:
            if opcode is Opcode.BINARY:
                return End(BINARY_CODE, True, has_close, tuple(pings))
            if not _is_utf8(b"".join(parts)):
                return End(NOT_UTF8_CODE, True, has_close, tuple(pings))
    if protocol.close_rcvd is not None:
        return End(int(protocol.close_rcvd.code), False, True, tuple(pings))
    sent = protocol.close_sent
    if sent is None:
        return End(None, False, has_close, tuple(pings))
    code = int(sent.code)
    # Here it is the reason of a close frame that is not UTF-8; the code in front of it may be bad as well.
    other = CloseCode.PROTOCOL_ERROR if code == NOT_UTF8_CODE else None
    return End(code, True, has_close, tuple(pings), other)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_owed(code: int | None, owed: End, stream: bytes, max_size: int) -> bool:
    """Whether a server may end the stream with this code, as far as RFC 6455 decides; `owed` is the `expected_end`.

    A close frame without a code may be answered with 1000 or without one. A frame that is too big and wrong besides may
    be refused for either. And the other implementation counts control frames against the size of the message that they
    interrupt, which no sentence asks for: where it finds too much, what it owes without that limit will do as well. It
    looks at a frame once it is whole, where others refuse it by its head.
    """
    if code in (owed.code, owed.other_code or owed.code) or {code, owed.code} in ({1000, 1005}, {1002, TOO_BIG_CODE}):
        return True
    if owed.code is None:
        return code == _end_of_the_last_frame(stream, max_size)
    return owed.code == TOO_BIG_CODE and code == expected_end(stream, None).code


def _end_of_the_last_frame(stream: bytes, max_size: int) -> int | None:
    """What is owed for the frame at the end once the rest of it has come; None when it is sound."""
    protocol = ServerProtocol(state=OPEN, max_size=max_size)
    protocol.receive_data(stream)
    protocol.events_received()
    for _ in range(65536):
        protocol.receive_data(b"\0")
        if protocol.close_sent is not None:
            return int(protocol.close_sent.code)
        if protocol.events_received():
            return None
    return None
