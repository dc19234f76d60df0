"""The HTTP upgrade, sans I/O: a request head in, a verdict out (RFC 6455 section 4.2; Pusher "Connection").

Refusals that Pusher knows a close code for are not HTTP errors: the upgrade is accepted and the connection closed with
the code, because browsers hide HTTP statuses and pusher-js then waits 15 seconds.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from .close_codes import PusherError
from .websocket import accept_key, is_valid_key

MAX_HEAD_BYTES: Final = 16 * 1024
SUPPORTED_PROTOCOLS: Final = (5, 6, 7)
# Any prefix may stand before /app/: apps configure `wsPath`.
_APP_PATH = re.compile(r"(?:/[^?]*)?/app/(?P<key>[^/?]+)/?")
_REQUEST_LINE: Final = re.compile(rb"GET ([\x21-\x7e]+) HTTP/1\.1")
# RFC 9110 section 5.6.2: what names of headers and of protocols are made of.
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER: Final = re.compile(rb"(%s):[ \t]*([\t\x20-\x7e\x80-\xff]*)" % _TOKEN)
_ELEMENT: Final = re.compile(rb"%s(?:/%s)?" % (_TOKEN, _TOKEN))
_OFFER: Final = re.compile(rb"\r\nupgrade:[^\r\n]*websocket", re.IGNORECASE)


class UpgradeRequest(Struct, frozen=True, gc=False):
    """What matters of an upgrade request."""

    app_key: str | None
    protocol: str | None
    version: str | None
    client: str
    origin: str | None
    accept: bytes
    forwarded_for: str | None


class BadHandshakeError(Exception):
    """Not a WebSocket handshake at all: answered with an HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def is_upgrade(head: bytes) -> bool:
    """Whether a request head asks for a WebSocket, among other protocols it may offer (cheap, case-insensitive)."""
    return head.startswith(b"GET ") and (b"\r\nUpgrade: websocket\r\n" in head or _OFFER.search(head) is not None)


def parse_upgrade(head: bytes) -> UpgradeRequest:
    """Read a request head up to and including its blank line. Raises: BadHandshakeError."""
    request_line, _, header_block = head.partition(b"\r\n")
    requested = _REQUEST_LINE.fullmatch(request_line)
    if requested is None:
        raise BadHandshakeError(400, "bad request line")
    headers = _parse_headers(header_block)
    key = headers.get(b"sec-websocket-key", b"")
    _check_headers(headers, key)
    return plain_upgrade(requested[1], key, _text(headers.get(b"origin")), _text(headers.get(b"x-forwarded-for")))


def plain_upgrade(target: bytes, key: bytes, origin: str | None, forwarded_for: str | None) -> UpgradeRequest:
    """The request with these parts, whose head was found to be right."""
    app_key, protocol, version, client = _parse_target(target)
    return UpgradeRequest(app_key, protocol, version, client, origin, accept_key(key), forwarded_for)


@lru_cache(maxsize=256)
def _parse_target(target: bytes) -> tuple[str | None, str | None, str | None, str]:
    """App key, protocol, version and client of a request target. All clients of an app send the same few targets."""
    path, _, query = target.decode("ascii").partition("?")
    if not path.startswith("/"):  # the absolute form, which proxies may send
        path = "/" + path.partition("://")[2].partition("/")[2]
    found = _APP_PATH.fullmatch(path)
    parameters = dict(parse_qsl(query, keep_blank_values=True, encoding="utf-8", errors="replace"))
    app_key = unquote(found["key"]) if found else None
    return app_key, parameters.get("protocol"), parameters.get("version"), parameters.get("client", "")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _parse_headers(block: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in block.split(b"\r\n"):
        if not line:
            continue
        header = _HEADER.fullmatch(line)
        if header is None:
            raise BadHandshakeError(400, "bad header line")
        name, value = header[1].lower(), header[2].rstrip(b" \t")
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _check_headers(headers: dict[bytes, bytes], key: bytes) -> None:
    """RFC 6455 section 4.2.1, in its order. A header that may be there once and came twice has a comma in it now."""
    host = headers.get(b"host")
    if host is None or b"," in host:
        raise BadHandshakeError(400, "one Host expected")
    if not _has_element(headers, b"upgrade", b"websocket"):
        raise BadHandshakeError(426, "Upgrade: websocket expected")
    if not _has_element(headers, b"connection", b"upgrade"):
        raise BadHandshakeError(400, "Connection: upgrade expected")
    if headers.get(b"sec-websocket-version") != b"13":
        raise BadHandshakeError(426, "Sec-WebSocket-Version: 13 expected")
    if not is_valid_key(key):
        raise BadHandshakeError(400, "bad Sec-WebSocket-Key")
    if b"," in headers.get(b"origin", b""):
        raise BadHandshakeError(400, "more than one Origin")
    # Behind the head of a WebSocket come frames; where a proxy sees a body, the two would not agree where they begin.
    if set(headers.get(b"content-length", b"0").split(b", ")) != {b"0"} or b"transfer-encoding" in headers:
        raise BadHandshakeError(400, "a handshake has no body")


def _has_element(headers: dict[bytes, bytes], name: bytes, wanted: bytes) -> bool:
    """Whether a header that is a list has this element. Raises: BadHandshakeError when it is no list of tokens."""
    value = headers.get(name, b"").lower()
    if value == wanted:
        return True
    elements = [element for part in value.split(b",") if (element := part.strip(b" \t"))]
    if not all(_ELEMENT.fullmatch(element) for element in elements):
        raise BadHandshakeError(400, f"bad {name.decode().capitalize()}")
    return wanted in elements


def accept_response(accept: bytes) -> bytes:
    """The 101 answer. No subprotocol and no extension is ever chosen."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
    )


def error_response(status: int, reason: str) -> bytes:
    """A complete HTTP error answer that closes the connection."""
    body = reason.encode()
    extra = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" if status == 426 else b""
    head = b"HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n" % (status, body)
    return b"%sContent-Length: %d\r\n%sConnection: close\r\n\r\n%s" % (head, len(body), extra, body)


@lru_cache(maxsize=256)
def check_protocol(protocol: str | None, version: str | None) -> PusherError | int:
    """The protocol number to speak, or why not.

    Missing: 7 when the client names its library version (as old clients did), else 4008. Android SDKs speak 5.
    """
    if protocol is None or protocol == "":
        return SUPPORTED_PROTOCOLS[-1] if version else PusherError.NO_PROTOCOL
    if not re.fullmatch(r"-?[0-9]{1,9}", protocol):
        return PusherError.BAD_VERSION
    number = int(protocol)
    return number if number in SUPPORTED_PROTOCOLS else PusherError.UNSUPPORTED_PROTOCOL


def origin_is_allowed(origin: str | None, allowed: frozenset[str]) -> bool:
    """Whether an `Origin` may connect. No origin (Node, mobile) passes; `*` allows all.

    An entry is a full origin (`https://app.example.com`), a host name, or `*.example.com`.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    host = origin.partition("://")[2].partition(":")[0].lower()
    if host in allowed:
        return True
    while "." in host:
        host = host.partition(".")[2]
        if f"*.{host}" in allowed:
            return True
    return False
