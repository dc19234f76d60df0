"""Where the API's own connections and uvicorn's meet.

Balancers reuse their upstream connections for whatever comes next, so one TCP connection may carry `/healthz`, then an
API call, then a WebSocket upgrade. Between two requests the transport moves to whoever is responsible; an API request
that reaches FastAPI all the same (in the middle of a pipeline) is answered there, by the same `HttpApi`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, Request, Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sharedjox_gateway.protocol.handshake import is_upgrade

from .api import HttpApi
from .connection import HandBack
from .connections import ApiConnections
from .exchange import Answer, ApiRequest, RefusedError
from .routing import is_api_request

_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


class SharedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, until a request comes that is not for FastAPI."""

    def __init__(
        self,
        connections: ApiConnections,
        hand_back: HandBack,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._slow = connections.slow
        self._clock = connections
        self._hand_back = hand_back
        self._in_message = False
        self._has_served = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """asyncio: called by the entry."""
        self._slow[self] = self._clock.now
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the peer is gone."""
        self._slow.pop(self, None)
        super().connection_lost(exc)

    def abort(self) -> None:
        """See `Abortable`: a request did not arrive whole in time."""
        self.transport.abort()

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._in_message = True
        self._slow[self] = self._clock.now
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """httptools: the request is whole."""
        self._in_message = False
        self._slow.pop(self, None)
        self._has_served = True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        is_between = self._has_served and not self._in_message and self.cycle.response_complete
        if is_between and not is_for_fastapi(data):
            self._unset_keepalive_if_required()
            self.connections.discard(self)
            self._hand_back(self.transport, data)
        else:
            super().data_received(data)


def is_for_fastapi(data: bytes) -> bool:
    """Whether a request that begins like this stays with uvicorn."""
    if is_api_request(data):
        return False
    end = data.find(b"\r\n\r\n")
    return end < 0 or not is_upgrade(data[: end + 4])


def add_api_routes(app: FastAPI, api: HttpApi) -> None:
    """Answer API requests that arrive over ASGI. Last of all routes: it takes every path that is left."""

    async def serve(request: Request) -> Response:
        body = await _read_body(request, api.max_body_bytes())
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if isinstance(body, Answer):
            return _response(body)
        scope = request.scope
        received = ApiRequest(
            request.method,
            scope.get("raw_path") or scope["path"].encode(),
            scope["query_string"],
            body,
            request.headers.get("traceparent", ""),
            request.headers.get("x-request-id", ""),
        )
        api.handle(received, lambda answer: None if answered.done() else answered.set_result(answer))
        return _response(await answered)

    app.add_route("/{path:path}", serve, methods=_METHODS, include_in_schema=False)


async def _read_body(request: Request, limit: int) -> bytes | Answer:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return RefusedError(413, f"The request's body is too large: more than {limit} bytes").answer
    return bytes(body)


def _response(answer: Answer) -> Response:
    headers = dict(line.split(": ", 1) for line in answer.headers)
    return Response(answer.body, answer.status, headers, answer.content_type)
