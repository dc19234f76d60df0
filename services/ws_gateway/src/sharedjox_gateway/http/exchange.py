"""Requests and answers of the HTTP API, apart from how they travel (own connection or ASGI)."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct
from sharedjox_contracts.codec import encode_json

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain; charset=utf-8"


class ApiRequest(Struct, frozen=True, gc=False):
    """One request as it was received. `path` and `query` are raw bytes, `body` the exact bytes that were signed."""

    method: str
    path: bytes
    query: bytes
    body: bytes
    traceparent: str = ""
    request_id: str = ""


class Answer(Struct, frozen=True, gc=False):
    """What is sent back. `headers` are ready lines without their line ends."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[str, ...] = ()


Respond = Callable[[Answer], None]
"""Takes the one answer of a request, now or later. Never raises."""

EMPTY: Final = Answer(200, b"{}")
"""`{}`: what every official SDK takes for success; a body with anything else in it fails the stricter ones."""


class RefusedError(Exception):
    """A request that is answered with an error. The text is what a developer reads in a log: say what to do."""

    def __init__(self, status: int, text: str, headers: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.answer = Answer(status, text.encode("utf-8", "replace") + b"\n", TEXT_TYPE, headers)


def unavailable() -> RefusedError:
    """503: Redis is away."""
    return RefusedError(
        503,
        "The gateway cannot reach Redis and does not confirm this request: repeat it in a second. Events that carry"
        ' an "id" of their own are published once however often they are sent.',
        ("retry-after: 1",),
    )


def json_answer(value: Any, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, encode_json(value))


_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def render(answer: Answer, *, date: bytes, connection: str = "", without_body: bool = False) -> bytes:
    """The bytes on the wire. `date` is a ready header line with its end; `connection` that header's value, if any."""
    lines = [
        _STATUS_LINES[answer.status],
        f"content-type: {answer.content_type}\r\ncontent-length: {len(answer.body)}\r\n",
    ]
    lines += [f"{line}\r\n" for line in answer.headers]
    if connection:
        lines.append(f"connection: {connection}\r\n")
    return b"%s%s\r\n%s" % ("".join(lines).encode("latin-1"), date, b"" if without_body else answer.body)
