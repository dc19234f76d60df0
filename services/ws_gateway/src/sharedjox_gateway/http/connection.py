"""HTTP/1.1 for the API: keep-alive and pipelining on one asyncio protocol, without a task per request.

Parsing is httptools' (llhttp), strict, but for requests like one that it has passed before (see `usual`). A request
that is for somebody else (health, metrics, a WebSocket upgrade on a reused upstream connection) hands the transport
back to the entry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import httptools

from .connections import ApiConnections
from .exchange import EMPTY, Answer, ApiRequest, RefusedError, render
from .routing import is_api_request

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_PIPELINED: Final = 64
"""Unanswered requests of one connection; beyond it nothing is read until some are answered."""
LINGER_SECONDS: Final = 2.0
"""After an answer to a request that was not read to its end: closing at once would reset the answer away."""
MAX_HEADER_TEXT: Final = 200

HandBack = Callable[[asyncio.Transport, bytes], None]
"""Gives a transport and what arrived on it back to the entry."""


class _Slot:
    """The place of one answer in its connection's order."""

    __slots__ = ("connection", "data", "is_last", "persistence", "without_body")

    def __init__(self, connection: ApiConnection, *, is_last: bool, persistence: str, without_body: bool) -> None:
        self.connection = connection
        self.data: bytes | None = None
        self.is_last = is_last
        self.persistence = persistence
        self.without_body = without_body

    def respond(self, answer: Answer) -> None:
        connection = self.connection
        if self.data is None and connection.transport is not None:
            owner = connection.owner
            if owner.is_draining:
                self.is_last, self.persistence = True, "close"
            if answer is EMPTY and not (self.persistence or self.without_body):
                self.data = owner.empty_answer
            else:
                self.data = render(answer, date=owner.date, connection=self.persistence, without_body=self.without_body)
            connection.answered()


class ApiConnection(asyncio.Protocol):
    """See the module's docstring."""

    __slots__ = (
        "_body",
        "_buffer",
        "_expects_continue",
        "_first",
        "_hand_back",
        "_head_bytes",
        "_head_without_offer",
        "_in_head",
        "_in_message",
        "_is_ending",
        "_is_paused",
        "_is_special",
        "_kept_headers",
        "_parser",
        "_request_id",
        "_since",
        "_slots",
        "_traceparent",
        "_url",
        "owner",
        "transport",
    )

    def __init__(self, owner: ApiConnections, hand_back: HandBack) -> None:
        self.owner = owner
        self.transport: asyncio.Transport | None = None
        self._hand_back = hand_back
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        """Gone with the transport: it refers back here, and a cycle per connection would keep the collector busy."""
        self._slots: deque[_Slot] = deque()
        self._buffer = b""
        self._first = b""
        """What the parser got at the beginning of a request, until that request is whole."""
        self._since = owner.now
        self._in_message = False
        self._in_head = False
        self._head_bytes = 0
        self._is_ending = False
        """No further request is taken; what still arrives is thrown away."""
        self._is_paused = False
        self._head_without_offer = b""
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._body: bytes | bytearray = b""
        self._traceparent = ""
        self._request_id = ""
        self._expects_continue = False
        self._is_special = False
        """A header asks for more than an answer to the body."""
        self._kept_headers = b""

    # --- asyncio ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: called by the entry."""
        self.transport = cast("asyncio.Transport", transport)
        self.owner.open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: the peer is gone; answers under way have nobody to go to."""
        self._leave()

    def eof_received(self) -> bool:
        """asyncio: the peer sends no more. Answers under way still reach it."""
        if self._slots and not self._is_ending:
            self._slots[-1].is_last = True
            self._is_ending = True
        return bool(self._slots)

    def pause_writing(self) -> None:
        """asyncio: the peer does not read its answers, so no more requests are taken from it."""
        self._pause_reading()

    def resume_writing(self) -> None:
        """asyncio: it does again."""
        self._resume_reading()

    def data_received(self, data: bytes) -> None:
        """asyncio: part of a request, or several."""
        if self._is_ending:
            return
        if not self._in_message:
            data = data if self._buffer else self._take_usual(data)
            if data and not self._slots:
                self._since = self.owner.now
                if self._buffer or not data.startswith(b"POST /apps/"):
                    data = self._for_us(data)
            self._first = data
        if data:
            self._feed(data)

    def _take_usual(self, data: bytes) -> bytes:
        """Between requests: handle those at the beginning of `data` that need no parser. Returns what follows them."""
        owner = self.owner
        while (found := owner.usual.take(data, owner.max_body_bytes)) is not None:
            path, query, body, keeps_alive, size = found
            self._since = owner.now
            self._handle(ApiRequest("POST", path, query, body), is_last=not keeps_alive)
            data = data[size:] if size < len(data) and not self._is_ending else b""
        return data

    def _for_us(self, data: bytes) -> bytes:
        """Between requests: `data` if it begins one of ours, nothing when that is not clear yet or it was handed on."""
        data = self._buffer + data
        self._buffer = b""
        if is_api_request(data):
            return data
        if b"\r\n" not in data and len(data) <= MAX_HEAD_BYTES:
            self._buffer = data
            return b""
        transport = self.transport
        self._leave()
        if transport is not None:
            self._hand_back(transport, data)
        return b""

    def _feed(self, data: bytes) -> None:
        parser, was_in_head = self._parser, self._in_head
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Java's client offers HTTP/2 with its first request. We pass the offer over, as RFC 9110 allows; httptools
            # takes it for accepted and stops behind the head, so it gets a head without the offer, and the rest.
            head, self._head_without_offer, self._first = self._head_without_offer, b"", b""
            self._reset()
            self._parser = httptools.HttpRequestParser(self)
            self._feed(head + data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, f"Not an HTTP/1.1 request: {error}")
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, f"The request's head is larger than {MAX_HEAD_BYTES} bytes")

    # --- httptools --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._in_message = self._in_head = True
        self._head_bytes = 0
        self._since = self.owner.now

    def on_url(self, url: bytes) -> None:
        """httptools: the target, or part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header; few matter here."""
        size = len(name)
        if size == 14:
            self._check_length(name, value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            self._kept_headers += b"transfer-encoding: %s\r\n" % value
            self._is_special = True
        elif size == 6 and name.lower() == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
            self._is_special = True
        elif size == 11 and name.lower() == b"traceparent":
            self._traceparent = _header_text(value)
            self._is_special = True
        elif size == 12 and name.lower() == b"x-request-id":
            self._request_id = _header_text(value)
            self._is_special = True

    def _check_length(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-length" and value.isdigit():
            self._kept_headers += b"content-length: %s\r\n" % value
            if int(value[:18]) > self.owner.max_body_bytes:
                self._too_large(f"{int(value[:18])} bytes")

    def _too_large(self, size: str) -> None:
        self._refuse(413, f"The request's body is too large: {size} of at most {self.owner.max_body_bytes} bytes")

    def on_headers_complete(self) -> None:
        """httptools: the head is complete."""
        self._in_head = False
        if self._parser is not None and self._parser.should_upgrade():
            method = self._parser.get_method()
            self._is_special = True
            self._head_without_offer = b"%s %s HTTP/1.1\r\n%s\r\n" % (method, self._url, self._kept_headers)
        if self._expects_continue and not self._is_ending and not self._slots and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """httptools: the body or part of it, chunks already put together."""
        if self._is_ending:
            return
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > self.owner.max_body_bytes:
            self._too_large("more")

    def on_message_complete(self) -> None:
        """httptools: the request is whole."""
        if self._head_without_offer:
            return
        self._in_message = False
        parser = self._parser
        if self._is_ending or parser is None:
            return
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        keeps_alive = parser.should_keep_alive()
        first, self._first = self._first, b""
        if first and method == "POST" and version == "1.1" and not self._is_special:
            self.owner.usual.learn(first, keeps_alive=keeps_alive)
        path, _, query = self._target().partition(b"?")
        request = ApiRequest(method, path, query, bytes(self._body), self._traceparent, self._request_id)
        self._reset()
        self._handle(request, is_last=not keeps_alive, says_so=version == "1.0")

    def _handle(self, request: ApiRequest, *, is_last: bool, says_so: bool = False) -> None:
        """Give a whole request to the API. `says_so`: the answer says that the connection goes on, too."""
        persistence = "close" if is_last else "keep-alive" if says_so else ""
        slot = _Slot(self, is_last=is_last, persistence=persistence, without_body=request.method == "HEAD")
        self._is_ending = is_last
        self._slots.append(slot)
        if len(self._slots) >= MAX_PIPELINED:
            self._pause_reading()
        self.owner.api.handle(request, slot.respond)

    def _target(self) -> bytes:
        """The target in origin form; proxies may send the absolute one."""
        if self._url.startswith(b"/"):
            return self._url
        _, _, rest = self._url.partition(b"://")
        return b"/" + rest.partition(b"/")[2]

    # --- answering --------------------------------------------------------------------------------------------------

    def answered(self) -> None:
        """A slot was filled: send what is ready, in order."""
        slots, transport = self._slots, self.transport
        while slots and (data := slots[0].data) is not None and transport is not None:
            is_last = slots.popleft().is_last
            transport.write(data)
            if is_last:
                slots.clear()
                self._finish(transport)
                return
        self._since = self.owner.now
        if self._is_paused and len(slots) < MAX_PIPELINED // 2:
            self._resume_reading()

    def _refuse(self, status: int, text: str) -> None:
        """Answer a request that cannot be read on, behind those before it, and end."""
        if self._is_ending:
            return
        self._is_ending = True
        self._in_head = False
        slot = _Slot(self, is_last=True, persistence="close", without_body=False)
        self._slots.append(slot)
        slot.respond(RefusedError(status, text).answer)

    def _finish(self, transport: asyncio.Transport) -> None:
        self._is_ending = True
        self._since = self.owner.now
        if not self._in_message:
            self._leave()
            transport.close()
        elif transport.can_write_eof():
            transport.write_eof()  # the rest of the request is read and thrown away until `check_time` ends it

    # --- time and end -----------------------------------------------------------------------------------------------

    def check_time(self, now: float, request_timeout: float, keep_alive: float) -> None:
        """Close when idle too long; answer 408 to a request that does not get on."""
        silence = now - self._since
        if self._slots:
            return
        if self._is_ending:
            if silence > LINGER_SECONDS:
                self.abort()
        elif self._in_message or self._buffer:
            if silence > request_timeout:
                self._refuse(408, f"The request did not arrive whole within {request_timeout:g} seconds")
        elif silence > keep_alive:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Close unless a request is under way."""
        if not (self._slots or self._in_message or self._is_ending) and self.transport is not None:
            transport = self.transport
            self._leave()
            transport.close()

    def abort(self) -> None:
        """Drop the transport."""
        transport = self.transport
        self._leave()
        if transport is not None:
            transport.abort()

    def _leave(self) -> None:
        self.transport = self._parser = None
        self._is_ending = True
        self._slots.clear()
        self.owner.open.discard(self)

    def _pause_reading(self) -> None:
        if not self._is_paused and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_paused and self.transport is not None:
            self._is_paused = False
            self.transport.resume_reading()


def _header_text(value: bytes) -> str:
    """A header's value for logs and event headers: short printable ASCII, else nothing."""
    text = value.decode("latin-1")
    return text if len(text) <= MAX_HEADER_TEXT and text.isascii() and text.isprintable() else ""
