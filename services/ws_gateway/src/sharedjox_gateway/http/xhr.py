"""The routes of the HTTP fallbacks, with any path prefix in front (`httpPath`, by default `/pusher`)."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, cast

import httpx
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from sharedjox_kit.logs import get_logger

from sharedjox_gateway.protocol.handshake import UpgradeRequest
from sharedjox_gateway.xhr.hop import HOP_HEADER, is_signed_hop, sign_hop
from sharedjox_gateway.xhr.session import BadSendError, XhrSession

if TYPE_CHECKING:
    import asyncio

    from sharedjox_gateway.gateway import Gateway

_log = get_logger(__name__)
_SESSION: Final = re.compile(r"[0-9]{1,4}/[A-Za-z0-9_\-]{1,64}")
_PATH: Final = "/app/{key}/{server}/{session}/"
_KINDS: Final = ("xhr_streaming", "xhr", "xhr_send")
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
        path = prefix + _PATH
        router.add_api_route(path + "xhr_streaming", requests.stream, methods=["POST"])
        router.add_api_route(path + "xhr", requests.poll, methods=["POST"])
        router.add_api_route(path + "xhr_send", requests.send, methods=["POST"])
        for kind in _KINDS:
            router.add_api_route(path + kind, requests.preflight, methods=["OPTIONS"])
    return router


def create_hop_router(gateway: Gateway) -> APIRouter:
    """What other gateways ask of this one for sessions that it has: the same requests, signed, and no new sessions."""
    router = APIRouter()
    for kind in _KINDS:
        router.add_api_route(_PATH + kind, _HopRequests(gateway, kind).answer, methods=["POST"])
    return router


class _HopRequests:
    """Signed requests of other gateways. 401: not signed. 404: no such session (any more)."""

    def __init__(self, gateway: Gateway, kind: str) -> None:
        self._gateway = gateway
        self._kind = kind

    async def answer(self, request: Request) -> Response:
        """As the session's own process answers its client."""
        body = await _body(request, self._gateway.max_message_bytes)
        if body is None:
            return _too_large()
        app = self._gateway.apps.by_key(request.path_params["key"])
        name = _name(request)
        value = request.headers.get(HOP_HEADER, "")
        if app is None or name is None or not is_signed_hop(app, value, _hop_path(name, self._kind), body, time.time()):
            return Response("not signed by a gateway\n", status_code=401)
        session = self._gateway.xhr.local(name)
        if session is None:
            return Response("unknown session\n", status_code=404)
        match self._kind:
            case "xhr_streaming":
                return _streamed(session)
            case "xhr":
                return _polled(session)
            case _:
                return _sent(session, body)


class _XhrRequests:
    def __init__(self, gateway: Gateway, forward: httpx.AsyncClient) -> None:
        self._gateway = gateway
        self._forward = forward

    async def preflight(self, request: Request) -> Response:
        """CORS: pages come from other origins."""
        return Response(status_code=204, headers=_cors(request) | {"access-control-max-age": "86400"})

    async def stream(self, request: Request) -> Response:
        """One response that goes on for as long as the session does."""
        session = await self._session(request, "xhr_streaming")
        return session if isinstance(session, Response) else _with_cors(_streamed(session), request)

    async def poll(self, request: Request) -> Response:
        """One response with what there is, or the next thing that comes."""
        session = await self._session(request, "xhr")
        return session if isinstance(session, Response) else _with_cors(_polled(session), request)

    async def send(self, request: Request) -> Response:
        """Messages from the client."""
        name = _name(request)
        session = self._gateway.xhr.local(name) if name else None
        if session is None:
            passed = await self._pass_on(request, name, "xhr_send") if name else None
            return passed or Response("unknown session\n", status_code=404, headers=_cors(request))
        body = await _body(request, self._gateway.max_message_bytes)
        return _with_cors(_too_large() if body is None else _sent(session, body), request)

    async def _session(self, request: Request, kind: str) -> XhrSession | Response:
        """The session of a receive request: ours, another process's (already answered), or a new one."""
        name = _name(request)
        if name is None:
            return Response("bad session\n", status_code=404, headers=_cors(request))
        session = self._gateway.xhr.local(name)
        if session is not None:
            return session
        passed = await self._pass_on(request, name, kind)
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

    async def _pass_on(self, request: Request, name: str, kind: str) -> Response | None:
        """Let the owner answer; None when there is none, or it is gone, or has the session no longer."""
        app = self._gateway.apps.by_key(request.path_params["key"])
        owner = await self._gateway.xhr.owner(name) if app is not None else None
        if app is None or owner is None:
            return None
        body = await _body(request, self._gateway.max_message_bytes)
        if body is None:
            return _with_cors(_too_large(), request)
        path = _hop_path(name, kind)
        headers = {HOP_HEADER: sign_hop(app, path, body, time.time())}
        try:
            passed = self._forward.build_request("POST", owner + path, headers=headers, content=body)
            answer = await self._forward.send(passed, stream=True)
        except (httpx.TransportError, httpx.InvalidURL):
            return None  # a dead owner: the client starts over with a new session
        if answer.status_code in (401, 404):
            await answer.aclose()
            if answer.status_code == 401:
                _log.warning("xhr.hop_refused", owner=owner, hint="clocks, or secrets in the middle of a rotation?")
            return None
        kept = {key: value for key, value in answer.headers.items() if key in _STREAM_HEADERS}
        return _with_cors(StreamingResponse(_relay(answer), answer.status_code, kept), request)


def _hop_path(name: str, kind: str) -> str:
    """Where a session's owner takes requests for it."""
    return f"/app/{name}/{kind}"


def _streamed(session: XhrSession) -> Response:
    return StreamingResponse(session.stream(session.take_over()), headers=_STREAM_HEADERS)


def _polled(session: XhrSession) -> Response:
    # A streaming response, though of one chunk: it ends the wait when the client goes away.
    return StreamingResponse(session.poll(session.take_over()), headers=_STREAM_HEADERS)


def _sent(session: XhrSession, body: bytes) -> Response:
    try:
        session.sent(body)
    except BadSendError as error:
        return Response(f"{error}\n", status_code=400)
    return Response(status_code=204)


async def _body(request: Request, max_message_bytes: int) -> bytes | None:
    """The body, or None when it is larger than any that could be meant; the rest of it is not taken then."""
    limit, body = max_message_bytes * 4, b""
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


def _too_large() -> Response:
    return Response("body too large\n", status_code=413)


def _with_cors(response: Response, request: Request) -> Response:
    response.headers.update(_cors(request))
    return response


def _cors(request: Request) -> dict[str, str]:
    """Any page may ask; whether its origin may connect is decided with the app, as for WebSockets."""
    return {
        "access-control-allow-origin": request.headers.get("origin", "*"),
        "access-control-allow-headers": "content-type",
        "access-control-allow-methods": "POST, OPTIONS",
        "vary": "origin",
    }
