"""A hundred thousand malformed byte streams and handshakes, judged by another implementation of RFC 6455."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

from sharedjox_gateway.protocol.handshake import BadHandshakeError, is_upgrade, parse_upgrade
from sharedjox_gateway.protocol.quick import choose_readers
from sharedjox_gateway.protocol.websocket import FrameReader, Opcode, WebSocketError, parse_close
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask

STREAMS = 60_000
HANDSHAKES = 50_000
MAX_SIZE = 300
SEED = 20261123

HEADS = [
    *(first | opcode for opcode in range(16) for first in (0x00, 0x80)),
    *(0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0x81, 0x80, 0x01),
    *(0xC1, 0xA1, 0x91, 0xF1),
]
GOOD_CODES = [1000, 1001, 1003, 1007, 1011, 3000, 4200, 4999]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]


def frame(dice: random.Random) -> bytes:
    """One frame, mostly sound in its length so that what follows it is looked at too."""
    first = dice.choice(HEADS)
    is_control = bool(first & 0x08)
    sizes = [0, 1, 2, 3, 20, 124, 125, 126, 127, 200, 299, 300]
    # A control frame over the limit breaks two rules at once, and each implementation may name the other one.
    payload = dice.randbytes(dice.choice(sizes if is_control else [*sizes, 301]))
    if first & 0x0F == Opcode.CLOSE and dice.random() < 0.2:
        payload = payload[: dice.randint(0, 1)]
    elif first & 0x0F == Opcode.CLOSE:
        # One breach at a time: a bad code comes with a reason that is sound.
        payload = dice.choice(GOOD_CODES).to_bytes(2, "big") + payload[:123]
        if dice.random() < 0.5:
            payload = dice.choice(BAD_CODES).to_bytes(2, "big") + b"r" * dice.randrange(123)
    length = len(payload)
    form = dice.random()
    masked = 0x80 if dice.random() < 0.97 else 0
    if form < 0.02 and not is_control:
        head = bytes((first, masked | 127)) + (1 << 40).to_bytes(8, "big")
    elif form < 0.05 and not is_control:
        head = bytes((first, masked | 127)) + length.to_bytes(8, "big")
    elif length > 125 or (form < 0.08 and not is_control):
        head = bytes((first, masked | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, masked | length))
    if not masked:
        return head + payload
    mask = dice.randbytes(4)
    return head + mask + apply_mask(payload, mask)


def streams(dice: random.Random) -> Iterator[bytes]:
    for _ in range(STREAMS):
        yield b"".join(frame(dice) for _ in range(dice.randint(1, 4)))


def our_verdict(stream: bytes, cut: int) -> int | None:
    """The code we close with, or None when we do not."""
    reader = FrameReader(MAX_SIZE)
    try:
        for part in (stream[:cut], stream[cut:]):
            for message in reader.feed(part):
                if message.opcode is Opcode.CLOSE:
                    return parse_close(message.payload)
    except WebSocketError as error:
        return int(error.code)
    return None


def their_verdict(stream: bytes) -> int | None:
    protocol = ServerProtocol(state=OPEN, max_size=MAX_SIZE)
    protocol.receive_data(stream)
    closed = protocol.close_rcvd or protocol.close_sent
    if protocol.close_sent is not None and protocol.close_rcvd is None:
        closed = protocol.close_sent
    return None if closed is None else int(closed.code)


def test_every_stream_gets_the_code_that_another_implementation_gives() -> None:
    dice = random.Random(SEED)
    codes: set[int | None] = set()
    ambiguous = 0
    for number, stream in enumerate(streams(dice)):
        ours, theirs = our_verdict(stream, dice.randint(0, len(stream))), their_verdict(stream)
        if ours != theirs and 1009 in (ours, theirs):
            # One frame that is too big and wrong besides: either name is right. The other implementation also counts
            # control frames against the size of the message that they interrupt.
            ambiguous += 1
            continue
        assert ours == theirs, f"stream {number} of seed {SEED}: {stream.hex()}"
        codes.add(ours)
    assert ambiguous < STREAMS / 20
    assert {None, 1000, 1002, 1005, 1007, 1009, 4200} <= codes, "the streams reach every kind of end"


def test_no_handshake_does_more_than_be_refused() -> None:
    dice = random.Random(SEED)
    good = (
        b"GET /app/key?protocol=7&client=js&version=8 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    refused = accepted = 0
    read_upgrade, _ = choose_readers()
    for _ in range(HANDSHAKES):
        head = bytearray(good)
        for _ in range(dice.randint(1, 8)):
            place = dice.randrange(len(head))
            match dice.randrange(4):
                case 0:
                    head[place] = dice.randrange(256)
                case 1:
                    del head[place : place + dice.randint(1, 20)]
                case 2:
                    head[place:place] = dice.randbytes(dice.randint(1, 20))
                case _:
                    head[place:place] = head[: dice.randint(1, 40)]
        asks, quick = is_upgrade(bytes(head)), read_upgrade(bytes(head))
        with contextlib.suppress(BadHandshakeError):
            request = parse_upgrade(bytes(head))
            assert quick is None or (asks and quick == request), bytes(head)
            accepted += 1
            continue
        assert quick is None, bytes(head)
        refused += 1
    assert refused > HANDSHAKES / 4
    assert accepted > 0
