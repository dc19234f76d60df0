"""Request heads of a WebSocket handshake, mutated, and the status that another implementation gives them."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from typing import Final

from websockets.exceptions import InvalidHandshake
from websockets.headers import parse_upgrade
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from tests.support.gateway import APP

GOOD_HEAD: Final = (
    f"GET /app/{APP.key}?protocol=7&client=js&version=8.6.0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
_HEAD_END: Final = b"\r\n\r\n"
LINES: Final = [
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Upgrade:WebSocket",
    b"Upgrade: websocket, h2c",
    b"Upgrade: h2c, websocket",
    b"Upgrade: websocket2",
    b"Upgrade: websocket/13",
    b"Host: other",
    b"Content-Length: 0",
    b"Connection: keep-alive, Upgrade",
    b"Connection: close",
    b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Version: 13, 8",
    b"Sec-WebSocket-Key: short",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Sec-WebSocket-Protocol: pusher",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Origin: https://evil.test",
    b"X: " + b"y" * 3000,
    b" folded",
    b"no colon",
    b": no name",
    b"X-Forwarded-For: 1.1.1.1, rubbish",
]
KEY: Final = APP.key.encode()
TARGETS: Final[Mapping[bytes, int | None]] = {
    b"/app/": 4005,
    b"/app/%00": 4001,
    b"/app/nobody?protocol=7": 4001,
    b"/app/" + b"x" * 5000: 4001,
    b"/app/" + KEY: 4008,
    b"/app/" + KEY + b"?" + b"a=b&" * 300: 4008,
    b"/app/" + KEY + b"?protocol=-1": 4007,
    b"/app/" + KEY + b"?protocol=7&protocol=9": 4007,
    b"/app/" + KEY + b"?protocol=seven": 4006,
    b"/app/" + KEY + b"/more?protocol=7": 4005,
    b"/apps/" + KEY + b"?protocol=7": 4005,
    b"*": 4005,
    b"/%2e%2e/app/" + KEY + b"?protocol=7": None,
    b"http://x/app/" + KEY + b"?protocol=7": None,
    b"/\xff\xfe": None,
}
"""Each with the code that its connection is closed with once it stands; None when it stays open (or never stands)."""


def random_head(dice: random.Random) -> tuple[bytes, int | None]:
    """A good head with something changed: bytes, lines, or its target; and the code it owes if it is accepted.

    For changed bytes, which may have hit the target, the code is 0: any will do.
    """
    kind = dice.random()
    if kind < 0.4:
        return _with_mutated_bytes(dice, GOOD_HEAD), 0
    lines = GOOD_HEAD[:-4].split(b"\r\n")
    code = None
    if kind < 0.6:
        target = dice.choice(list(TARGETS))
        code = TARGETS[target]
        lines[0] = b"GET " + target + b" HTTP/1.1"
    for _ in range(dice.randint(0 if kind < 0.6 else 1, 3)):
        place = dice.randint(1, len(lines))
        if dice.random() < 0.5 and place < len(lines):
            del lines[place]
        else:
            lines.insert(place, dice.choice(LINES))
    return b"\r\n".join(lines) + b"\r\n\r\n", code


def _with_mutated_bytes(dice: random.Random, text: bytes) -> bytes:
    head = bytearray(text)
    for _ in range(dice.randint(1, 8)):
        mutate(dice, head)
    return bytes(head)


def mutate(dice: random.Random, text: bytearray) -> None:
    """Change a byte, take some away, or put some in."""
    place = dice.randrange(len(text))
    match dice.randrange(4):
        case 0:
            text[place] = dice.randrange(256)
        case 1 if len(text) > 40:
            del text[place : place + dice.randint(1, 20)]
        case 2:
            text[place:place] = dice.randbytes(dice.randint(1, 20))
        case _:
            text[place:place] = text[: dice.randint(1, 40)]


def expected_status(head: bytes) -> int:
    """101 when a connection is owed on this, 400 for any refusal, 0 while there is more to wait for.

    Judged by the `websockets` library, but for three sentences of RFC 6455 section 4.2.1. A handshake has one Host, and
    its target is a URI: the library leaves both to others. And its Upgrade is a list in which websocket is one element,
    where the library wants no other.
    """
    if _HEAD_END not in head:
        return 0
    reader = StreamReader()
    reader.feed_data(head)
    parsing: Generator[None, None, Request] = Request.parse(reader.read_line)
    try:
        next(parsing)
    except StopIteration as parsed:
        request: Request = parsed.value
    except Exception:  # noqa: BLE001 - whatever it says, it refuses
        return 400
    else:
        return 0
    hosts = request.headers.get_all("Host")
    if len(hosts) != 1 or "," in hosts[0] or not all("!" <= letter <= "~" for letter in request.path):
        return 400
    try:
        offers = [offer.lower() for line in request.headers.get_all("Upgrade") for offer in parse_upgrade(line)]
        if "websocket" in offers:
            del request.headers["Upgrade"]
            request.headers["Upgrade"] = "websocket"
        return int(ServerProtocol().accept(request).status_code)
    except InvalidHandshake:
        return 400
