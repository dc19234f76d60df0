"""The routes of the HTTP fallbacks, with any path prefix in front (`httpPath`, by default `/pusher`)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, cast

import httpx
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from sharedjox_gateway.protocol.handshake import UpgradeRequest
from sharedjox_gateway.xhr.session import BadSendError, XhrSession

if TYPE_CHECKING:
    import asyncio

    from sharedjox_gateway.gateway import Gateway

_SESSION: Final = re.compile(r"[0-9]{1,4}/[A-Za-z0-9_\-]{1,64}")
_FORWARDED: Final = "x-sharedjox-forwarded"
_STREAM_HEADERS: Final = {
    "content-type": "application/javascript; charset=utf-8",
    "cache-control": "no-store, no-cache, no-transform, must-revalidate",
    "x-accel-buffering": "no",
}


def create_xhr_router(gateway: Gateway, forward: httpx.AsyncClient) -> APIRouter:
    """`xhr_streaming`, `xhr` and `xhr_send`; `forward` carries requests to the process that owns their session."""
    router = APIRouter()
    requests = _XhrRequests(gateway, forward)
    for prefix in ("", "/{prefix:path}"):
        path = prefix + "/app/{key}/{server}/{session}/"
        router.add_api_route(path + "xhr_streaming", requests.stream, methods=["POST"])
        router.add_api_route(path + "xhr", requests.poll, methods=["POST"])
        router.add_api_route(path + "xhr_send", requests.send, methods=["POST"])
        for kind in ("xhr_streaming", "xhr", "xhr_send"):
            router.add_api_route(path + kind, requests.preflight, methods=["OPTIONS"])
    return router


class _XhrRequests:
    def __init__(self, gateway: Gateway, forward: httpx.AsyncClient) -> None:
        self._gateway = gateway
        self._forward = forward

    async def preflight(self, request: Request) -> Response:
        """CORS: pages come from other origins."""
        return Response(status_code=204, headers=_cors(request) | {"access-control-max-age": "86400"})

    async def stream(self, request: Request) -> Response:
        """One response that goes on for as long as the session does."""
        session = await self._session(request)
        if isinstance(session, Response):
            return session
        chunks = session.stream(session.take_over())
        return StreamingResponse(chunks, headers=_cors(request) | _STREAM_HEADERS)

    async def poll(self, request: Request) -> Response:
        """One response with what there is, or the next thing that comes."""
        session = await self._session(request)
        if isinstance(session, Response):
            return session
        # A streaming response, though of one chunk: it ends the wait when the client goes away.
        chunk = session.poll(session.take_over())
        return StreamingResponse(chunk, headers=_cors(request) | _STREAM_HEADERS)

    async def send(self, request: Request) -> Response:
        """Messages from the client."""
        name = _name(request)
        session = self._gateway.xhr.local(name) if name else None
        if session is None:
            passed = await self._pass_on(request, name) if name else None
            return passed or Response("unknown session\n", status_code=404, headers=_cors(request))
        body = await self._body(request)
        if body is None:
            return _too_large(request)
        try:
            session.sent(body)
        except BadSendError as error:
            return Response(f"{error}\n", status_code=400, headers=_cors(request))
        return Response(status_code=204, headers=_cors(request))

    async def _session(self, request: Request) -> XhrSession | Response:
        """The session of a receive request: ours, another process's (already answered), or a new one."""
        name = _name(request)
        if name is None:
            return Response("bad session\n", status_code=404, headers=_cors(request))
        session = self._gateway.xhr.local(name)
        if session is not None:
            return session
        passed = await self._pass_on(request, name)
        if passed is not None:
            return passed
        return self._gateway.xhr.local(name) or self._open(request, name)

    def _open(self, request: Request, name: str) -> XhrSession:
        query = request.query_params
        upgrade = UpgradeRequest(
            app_key=request.path_params["key"],
            protocol=query.get("protocol"),
            version=query.get("version"),
            client=query.get("client", ""),
            origin=request.headers.get("origin"),
            accept=b"",
            forwarded_for=request.headers.get("x-forwarded-for"),
        )
        peer = (request.client.host, request.client.port) if request.client else ("", 0)
        session = self._gateway.xhr.add(name, peer)
        session.attach(self._gateway.accept(upgrade, cast("asyncio.Transport", session), preamble=b""))
        return session

    async def _pass_on(self, request: Request, name: str) -> Response | None:
        """Let the owner answer; None when there is none, or it is gone."""
        if _FORWARDED in request.headers:
            return None
        owner = await self._gateway.xhr.owner(name)
        if owner is None:
            return None
        body = await self._body(request)
        if body is None:
            return _too_large(request)
        headers = {key: value for key, value in request.headers.items() if key in ("origin", "content-type")}
        passed = self._forward.build_request(
            "POST",
            f"{owner}{request.url.path}?{request.url.query}",
            headers=headers | {_FORWARDED: "1"},
            content=body,
        )
        try:
            answer = await self._forward.send(passed, stream=True)
        except httpx.TransportError:
            return None  # a dead owner: the client starts over with a new session
        kept = ("content-type", "cache-control", "access-control-allow-origin", "access-control-allow-credentials")
        return StreamingResponse(
            _relay(answer),
            status_code=answer.status_code,
            headers={key: value for key, value in answer.headers.items() if key in kept} | {"x-accel-buffering": "no"},
        )

    async def _body(self, request: Request) -> bytes | None:
        """The body, or None when it is larger than any that could be meant; the rest of it is not taken then."""
        limit, body = self._gateway.max_message_bytes * 4, b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                return None
        return body


async def _relay(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx.TransportError:
        return  # the owner died: the client sees the end of its stream and reconnects
    finally:
        await answer.aclose()


def _name(request: Request) -> str | None:
    parts: dict[str, Any] = request.path_params
    session = f"{parts['server']}/{parts['session']}"
    return f"{parts['key'][:100]}/{session}" if _SESSION.fullmatch(session) else None


def _too_large(request: Request) -> Response:
    return Response("body too large\n", status_code=413, headers=_cors(request))


def _cors(request: Request) -> dict[str, str]:
    """Any page may ask; whether its origin may connect is decided with the app, as for WebSockets."""
    return {
        "access-control-allow-origin": request.headers.get("origin", "*"),
        "access-control-allow-headers": "content-type",
        "access-control-allow-methods": "POST, OPTIONS",
        "vary": "origin",
    }
