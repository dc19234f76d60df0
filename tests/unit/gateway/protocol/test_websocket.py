"""RFC 6455 framing: what must be refused first, then what must be understood."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_gateway.protocol.websocket import (
    CloseCode,
    FrameReader,
    Message,
    Opcode,
    WebSocketError,
    accept_key,
    encode_close,
    encode_frame,
    is_valid_key,
    parse_close,
    read_single_text,
)

from tests.support.frames import masked

LIMIT = 1 << 16


def client_frame(payload: bytes, opcode: int = Opcode.TEXT, *, final: bool = True, reserved: int = 0) -> bytes:
    return masked((0x80 if final else 0) | reserved | opcode, payload, secrets.token_bytes(4))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(client_frame(b"x", reserved=0x40), CloseCode.PROTOCOL_ERROR, id="reserved-bit"),
        pytest.param(client_frame(b"x", 0x3), CloseCode.PROTOCOL_ERROR, id="unknown-data-opcode"),
        pytest.param(client_frame(b"x", 0xB), CloseCode.PROTOCOL_ERROR, id="unknown-control-opcode"),
        pytest.param(encode_frame(b"x"), CloseCode.PROTOCOL_ERROR, id="not-masked"),
        pytest.param(client_frame(b"x", Opcode.PING, final=False), CloseCode.PROTOCOL_ERROR, id="fragmented-ping"),
        pytest.param(client_frame(b"x" * 126, Opcode.PING), CloseCode.PROTOCOL_ERROR, id="long-ping"),
        pytest.param(client_frame(b"x", Opcode.CONTINUATION), CloseCode.PROTOCOL_ERROR, id="continuation-of-nothing"),
        pytest.param(
            client_frame(b"x", final=False) + client_frame(b"y"), CloseCode.PROTOCOL_ERROR, id="text-in-fragmented-text"
        ),
        pytest.param(client_frame(b"x" * (LIMIT + 1)), CloseCode.TOO_BIG, id="too-big"),
        pytest.param(
            client_frame(b"x" * LIMIT, final=False) + client_frame(b"x", Opcode.CONTINUATION),
            CloseCode.TOO_BIG,
            id="too-big-in-fragments",
        ),
        pytest.param(b"\x81\xff\x80" + bytes(7), CloseCode.PROTOCOL_ERROR, id="length-with-highest-bit"),
    ],
)
def test_reader_refuses(frame: bytes, code: CloseCode) -> None:
    with pytest.raises(WebSocketError) as refused:
        list(FrameReader(LIMIT).feed(frame))
    assert refused.value.code is code


def test_too_big_is_refused_by_its_head_before_the_payload_is_buffered() -> None:
    with pytest.raises(WebSocketError):
        list(FrameReader(LIMIT).feed(client_frame(b"x" * (LIMIT + 1))[:10]))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", CloseCode.PROTOCOL_ERROR),
        ((999).to_bytes(2, "big"), CloseCode.PROTOCOL_ERROR),
        ((1004).to_bytes(2, "big"), CloseCode.PROTOCOL_ERROR),
        ((1005).to_bytes(2, "big"), CloseCode.PROTOCOL_ERROR),
        ((1006).to_bytes(2, "big"), CloseCode.PROTOCOL_ERROR),
        ((1015).to_bytes(2, "big"), CloseCode.PROTOCOL_ERROR),
        ((2999).to_bytes(2, "big"), CloseCode.PROTOCOL_ERROR),
        ((5000).to_bytes(2, "big"), CloseCode.PROTOCOL_ERROR),
        ((1000).to_bytes(2, "big") + b"\xff", CloseCode.INVALID_PAYLOAD),
    ],
)
def test_close_payload_is_refused(payload: bytes, code: CloseCode) -> None:
    with pytest.raises(WebSocketError) as refused:
        parse_close(payload)
    assert refused.value.code is code


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1014, 3000, 4200, 4999])
def test_close_code_is_read(code: int) -> None:
    assert parse_close(code.to_bytes(2, "big") + b"bye") == code


def test_close_without_payload_reads_as_1005() -> None:
    assert parse_close(b"") == 1005


@given(
    st.lists(st.tuples(st.binary(max_size=700), st.integers(1, 4)), min_size=1, max_size=6),
    st.integers(min_value=1, max_value=97),
    st.booleans(),
)
def test_messages_survive_any_fragmentation_and_any_split_of_reads(
    messages: list[tuple[bytes, int]], read_size: int, with_pings: bool
) -> None:
    stream = b""
    for payload, fragments in messages:
        size = -(-len(payload) // fragments) or 1
        parts = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
        for number, part in enumerate(parts):
            opcode = Opcode.TEXT if number == 0 else Opcode.CONTINUATION
            stream += client_frame(part, opcode, final=number == len(parts) - 1)
            if with_pings:
                stream += client_frame(b"p", Opcode.PING)
    reader = FrameReader(LIMIT)
    received: list[Message] = []
    for start in range(0, len(stream), read_size):
        received += reader.feed(stream[start : start + read_size])
    assert [message.payload for message in received if message.opcode is Opcode.TEXT] == [part for part, _ in messages]
    assert reader.is_idle


def test_what_was_whole_before_a_breach_is_given_first() -> None:
    messages = FrameReader(LIMIT).feed(client_frame(b"whole") + b"\xc1\x80")
    assert next(messages) == Message(Opcode.TEXT, b"whole")
    with pytest.raises(WebSocketError):
        next(messages)


def test_nothing_after_a_close_frame_is_looked_at() -> None:
    received = list(FrameReader(LIMIT).feed(client_frame(b"", Opcode.CLOSE) + client_frame(b"late")))
    assert received == [Message(Opcode.CLOSE, b"")]


@given(st.binary(max_size=300))
def test_quick_path_agrees_with_the_reader(payload: bytes) -> None:
    frame = client_frame(payload)
    assert list(FrameReader(LIMIT).feed(frame)) == [Message(Opcode.TEXT, payload)]
    assert read_single_text(frame, LIMIT) == (payload if len(payload) < 126 else None)


@given(st.binary(min_size=1, max_size=200))
def test_quick_path_takes_nothing_but_one_whole_text_frame(data: bytes) -> None:
    quick = read_single_text(data, LIMIT)
    if quick is not None:
        assert list(FrameReader(LIMIT).feed(data)) == [Message(Opcode.TEXT, quick)]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_server_frames_have_the_shortest_length_form(size: int) -> None:
    frame = encode_frame(b"x" * size)
    head = 2 if size < 126 else 4 if size < 65536 else 10
    assert len(frame) == head + size
    assert frame[0] == 0x81
    assert not frame[1] & 0x80


def test_close_reason_is_cut_between_characters() -> None:
    frame = encode_close(4100, "é" * 100)
    assert len(frame) - 4 <= 123
    assert frame[4:].decode() == "é" * 61


def test_accept_key_is_the_one_of_the_rfc() -> None:
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("key", "valid"),
    [(b"dGhlIHNhbXBsZSBub25jZQ==", True), (b"", False), (b"short", False), (b"!" * 24, False), (b"A" * 24, False)],
)
def test_handshake_key(key: bytes, valid: bool) -> None:
    assert is_valid_key(key) is valid
