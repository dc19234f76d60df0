"""Upgrade requests: refused ones first."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_gateway.protocol.close_codes import PusherError
from sharedjox_gateway.protocol.handshake import (
    BadHandshakeError,
    check_protocol,
    error_response,
    is_upgrade,
    origin_is_allowed,
    parse_upgrade,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def head(target: bytes = b"/app/key?protocol=7", *extra: bytes, version: bytes = b"13", key: bytes = KEY) -> bytes:
    lines = [
        b"GET %s HTTP/1.1" % target,
        b"Host: localhost",
        b"Upgrade: websocket",
        b"Connection: keep-alive, Upgrade",
        b"Sec-WebSocket-Version: " + version,
        b"Sec-WebSocket-Key: " + key,
        *extra,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(version=b"8"), 426),
        (head(key=b"bad"), 400),
        (head().replace(b"keep-alive, Upgrade", b"close"), 400),
        (head().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (head(b"/app/key HTTP/1.1 extra"), 400),
        (head(b"/app/key", b"no colon here"), 400),
        (head(b"/app/key", b"Bad Name : x"), 400),
        (head(b"/app/key", b"X-\xff: x"), 400),
        (head(b"/app/key", b"X: a\x00b"), 400),
        (head(b"/app/k\xffey"), 400),
        (head(b"/app/k\x7fey"), 400),
        (head(b"/app/key", b"Host: other"), 400),
        (head().replace(b"Host: localhost\r\n", b""), 400),
        (head().replace(b"Upgrade: websocket", b"Upgrade: websocket2"), 426),
        (head().replace(b"Upgrade: websocket", b"Upgrade: h2c"), 426),
        (head().replace(b"Upgrade: websocket", b"Upgrade: websocket, b@d"), 400),
        (head().replace(b"keep-alive, Upgrade", b"upgraded"), 400),
        (head(b"/app/key", b"Sec-WebSocket-Key: " + KEY), 400),
        (head(b"/app/key", b"Sec-WebSocket-Version: 13"), 426),
        (head(b"/app/key", b"Origin: https://a.test", b"Origin: https://b.test"), 400),
        (head(b"/app/key", b"Content-Length: 5"), 400),
        (head(b"/app/key", b"Transfer-Encoding: chunked"), 400),
    ],
)
def test_bad_handshake_gets_an_http_status(request_head: bytes, status: int) -> None:
    with pytest.raises(BadHandshakeError) as refused:
        parse_upgrade(request_head)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("target", "key"),
    [
        (b"/app/key", "key"),
        (b"/app/key/", "key"),
        (b"/some/prefix/app/key?protocol=7", "key"),
        (b"/app/a%20b", "a b"),
        (b"http://localhost:8080/app/key?protocol=7", "key"),
        (b"http://localhost", None),
        (b"*", None),
        (b"/app/", None),
        (b"/", None),
        (b"/application/key", None),
        (b"/app/key/more", None),
    ],
)
def test_app_key_comes_from_the_path(target: bytes, key: str | None) -> None:
    assert parse_upgrade(head(target)).app_key == key


def test_query_and_headers_are_read() -> None:
    request = parse_upgrade(
        head(
            b"/app/k?protocol=5&client=java-client&version=2.4&x=1",
            b"Origin: https://a.test",
            b"X-Forwarded-For: 1.2.3.4",
        )
    )
    assert (request.protocol, request.client, request.version) == ("5", "java-client", "2.4")
    assert (request.origin, request.forwarded_for) == ("https://a.test", "1.2.3.4")


@given(st.binary(max_size=300))
def test_no_head_crashes_the_parser(noise: bytes) -> None:
    with contextlib.suppress(BadHandshakeError):
        parse_upgrade(noise + b"\r\n\r\n")


def test_an_ordinary_request_is_no_upgrade() -> None:
    assert not is_upgrade(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not is_upgrade(b"POST /app/x HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
    assert not is_upgrade(b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nX: websocket\r\n\r\n")
    assert is_upgrade(b"GET / HTTP/1.1\r\nUPGRADE: WebSocket\r\n\r\n")
    assert is_upgrade(b"GET / HTTP/1.1\r\nUpgrade:websocket\r\n\r\n")
    assert is_upgrade(b"GET / HTTP/1.1\r\nUpgrade: h2c, websocket\r\n\r\n")


def test_a_length_of_nothing_is_no_body() -> None:
    assert parse_upgrade(head(b"/app/key", b"Content-Length: 0")).app_key == "key"


@pytest.mark.parametrize(
    "offer",
    [
        b"WebSocket",
        b"h2c, websocket",
        b"websocket,h2c/2",
        b"h2c\r\nUpgrade: websocket",
        b"websocket\r\nContent-Length: 0",
    ],
)
def test_websocket_may_be_one_of_several_offers(offer: bytes) -> None:
    request_head = head().replace(b"Upgrade: websocket", b"Upgrade: " + offer)
    assert is_upgrade(request_head)
    assert parse_upgrade(request_head).app_key == "key"


def test_who_is_told_to_upgrade_is_told_to_what() -> None:
    answer = error_response(426, "Sec-WebSocket-Version: 13 expected")
    assert b"\r\nUpgrade: websocket\r\n" in answer
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer


@pytest.mark.parametrize(
    ("protocol", "version", "expected"),
    [
        ("5", None, 5),
        ("6", "1.0", 6),
        ("7", "8.6.0", 7),
        (None, "8.6.0", 7),
        (None, None, PusherError.NO_PROTOCOL),
        ("", None, PusherError.NO_PROTOCOL),
        ("4", None, PusherError.UNSUPPORTED_PROTOCOL),
        ("8", None, PusherError.UNSUPPORTED_PROTOCOL),
        ("-1", None, PusherError.UNSUPPORTED_PROTOCOL),
        ("seven", None, PusherError.BAD_VERSION),
        ("7.0", None, PusherError.BAD_VERSION),
        ("7\n", None, PusherError.BAD_VERSION),
        ("9" * 40, None, PusherError.BAD_VERSION),
    ],
)
def test_protocol_number(protocol: str | None, version: str | None, expected: int | PusherError) -> None:
    assert check_protocol(protocol, version) == expected


@pytest.mark.parametrize(
    ("origin", "allowed", "passes"),
    [
        ("https://evil.test", {"https://app.test"}, False),
        ("https://app.test.evil.test", {"app.test", "*.app.test"}, False),
        ("http://app.test", {"https://app.test"}, False),
        ("null", {"https://app.test"}, False),
        (None, {"https://app.test"}, True),
        ("https://app.test", {"https://app.test"}, True),
        ("https://app.test:8443", {"app.test"}, True),
        ("https://a.b.app.test", {"*.app.test"}, True),
        ("https://anything", {"*"}, True),
    ],
)
def test_origin(origin: str | None, allowed: set[str], passes: bool) -> None:
    assert origin_is_allowed(origin, frozenset(allowed)) is passes
