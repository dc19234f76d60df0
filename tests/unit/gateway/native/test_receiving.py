"""The quick readers in C: they take the plain case as Python does, and leave everything else to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_gateway.protocol import quick
from sharedjox_gateway.protocol.handshake import BadHandshakeError, UpgradeRequest, is_upgrade, parse_upgrade
from sharedjox_gateway.protocol.websocket import FrameReader, Message, Opcode, read_single_text

from tests.unit.gateway.protocol.test_handshake import KEY, head
from tests.unit.gateway.protocol.test_websocket import client_frame

IS_BUILT = quick._native() is not None
READ_UPGRADE, READ_TEXT = quick.choose_readers()
LIMIT = 70_000


def in_python(request_head: bytes) -> UpgradeRequest | None:
    """What the code in Python makes of a whole head."""
    try:
        return parse_upgrade(request_head) if is_upgrade(request_head) else None
    except BadHandshakeError:
        return None


def test_switched_off_python_reads_everything() -> None:
    read_upgrade, read_text = quick.choose_readers(use_native=False)
    assert read_upgrade(head()) is None
    assert read_text is read_single_text


@pytest.mark.parametrize(
    "request_head",
    [
        b"",
        b"GET ",
        b"GET /",
        head()[:-1],
        head()[:-2],
        head() + b"\x81",
        head() + head(),
        b"POST" + head()[3:],
        head().replace(b" HTTP/1.1", b" HTTP/1.1 "),
        head().replace(b"GET /", b"GET  /"),
        head().replace(b"\r\nHost", b"\nHost"),
        head().replace(b"Host: localhost", b"Host: a, b"),
        head(b"/app/key", b"Sec-WebSocket-Version: 13"),
        head(b"/app/key", b"sec-websocket-key: " + KEY),
        head(b"/app/key", b" folded: x"),
        head(b"/app/key", b"X: a\rb"),
        head(b"/app/key", b"X: a\x7fb"),
        head(b"/app/key", b": x"),
        head(b"/app/key", b"Content-Length: 0"),
        head(b"/app/key", b"Transfer-Encoding: chunked"),
        head(b"/app/key", b"Origin: https://a.test, https://b.test"),
        head(b"/app/key", b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-For: 5.6.7.8"),
        head(key=KEY[:-3] + b"r=="),
        head(key=KEY[:-2]),
        head(b"/" + b"x" * 16_384),
    ],
)
def test_what_is_not_plain_is_left_to_python(request_head: bytes) -> None:
    assert READ_UPGRADE(request_head) is None


@pytest.mark.parametrize(
    "request_head",
    [
        head(),
        head(b"/app/key?protocol=7&client=js&version=8.4.0", b"Origin: https://a.test \t", b"Cookie: a=b; c=d"),
        head(b"http://localhost/app/key", b"x-forwarded-for:\t1.2.3.4, 5.6.7.8", b"X: \xe9\xff\t!", b"Empty:", b"X: y"),
        head(b"*").replace(b"keep-alive, Upgrade", b"Upgrade").replace(b"Upgrade: w", b"UPGRADE:W"),
        head().replace(b"localhost", b""),
    ],
)
def test_plain_heads_are_read_as_python_reads_them(request_head: bytes) -> None:
    request = READ_UPGRADE(request_head)
    assert request == (parse_upgrade(request_head) if IS_BUILT else None)


@given(st.data())
def test_nothing_is_taken_that_python_refuses(data: st.DataObject) -> None:
    request_head = bytearray(head(b"/app/key?protocol=7", b"Origin: https://a.test"))
    pieces = st.sampled_from([b"", b",", b" ", b"\t", b"\r\n", b"\x00", b"A", b"="])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(request_head)))
        request_head[place : place + data.draw(st.integers(0, 3))] = data.draw(pieces)
    request = READ_UPGRADE(bytes(request_head))
    assert request is None or request == in_python(bytes(request_head))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
@pytest.mark.parametrize("read_text", [READ_TEXT, read_single_text])
def test_one_text_frame_below_64_kilobytes_is_read(read_text: Callable[[bytes, int], bytes | None], size: int) -> None:
    payload = bytes(range(256)) * 257
    frame = client_frame(payload[:size])
    assert read_text(frame, LIMIT) == (payload[:size] if size < 65_536 else None)
    assert read_text(frame, size - 1) is None
    assert read_text(frame + b"x", LIMIT) is None
    assert read_text(frame[:-1], LIMIT) is None


@given(st.binary(max_size=200), st.integers(0, 150))
def test_text_is_read_as_python_reads_it(data: bytes, max_size: int) -> None:
    assert READ_TEXT(data, max_size) == read_single_text(data, max_size)


@given(st.binary(max_size=300))
def test_a_text_frame_is_read_as_the_reader_reads_it(payload: bytes) -> None:
    frame = client_frame(payload)
    assert list(FrameReader(LIMIT).feed(frame)) == [Message(Opcode.TEXT, payload)]
    assert READ_TEXT(frame, LIMIT) == payload
