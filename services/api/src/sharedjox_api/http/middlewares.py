"""Pure ASGI middlewares: what happens around every request."""

from __future__ import annotations

import time
from typing import Final

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sharedjox_kit.logs import get_logger
from sharedjox_kit.metrics import LATENCY_BUCKETS
from sharedjox_kit.tracing import Tracing, current_traceparent
from sharedjox_marketplace.context import RequestContext
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import BodyTooLargeProblem
from .problems import exception_response, http_problem
from .request_context import begin_request, given_traceparent, replace_request

_log = get_logger(__name__)

_QUIET_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class RequestMiddleware:
    """Gives a request its ids, counts it, logs it, and answers what nobody else has caught."""

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing
        self._seconds = Histogram(
            "sharedjox_http_request_seconds",
            "Time to the last byte of the answer.",
            ["method", "route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._requests = Counter(
            "sharedjox_http_requests_total", "Requests by status.", ["method", "route", "status"], registry=registry
        )
        self._series: dict[tuple[str, str, int], tuple[Histogram, Counter]] = {}
        self._running = 0
        Gauge("sharedjox_http_requests_running", "Requests being served.", registry=registry).set_function(
            lambda: self._running
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = begin_request(scope)
        structlog.contextvars.bind_contextvars(request_id=context.request_id)
        started, answer = time.perf_counter(), _Answer(scope, send, (context.request_id or "").encode())
        self._running += 1
        try:
            if self._tracing.is_recording:
                await self._traced(context, scope, receive, answer)
            else:
                await self._app(scope, receive, answer.send)
        except Exception as error:
            if answer.status:
                _log.exception("request.broken_off")
                raise
            await exception_response(error)(scope, receive, answer.send)
        finally:
            self._running -= 1
            self._account(scope, answer.status, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id")

    async def _traced(self, context: RequestContext, scope: Scope, receive: Receive, answer: _Answer) -> None:
        with self._tracing.span(
            scope["method"],
            parent=given_traceparent(scope),
            kind=SpanKind.SERVER,
            attributes={"url.path": scope["path"], "sharedjox.request_id": context.request_id or ""},
        ) as span:
            replace_request(
                RequestContext(
                    context.request_id, current_traceparent() or context.traceparent, context.socket_id, context.address
                )
            )
            await self._app(scope, receive, answer.send)
            span.update_name(f"{scope['method']} {_route_of(scope)}")
            span.set_attribute("http.response.status_code", answer.status)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = _route_of(scope)
        series = self._series.get((method, route, status))
        if series is None:
            series = self._seconds.labels(method, route), self._requests.labels(method, route, str(status))
            self._series[method, route, status] = series
        series[0].observe(seconds)
        series[1].inc()
        if scope["path"] not in _QUIET_PATHS:
            _log.debug("request.served", method=method, path=scope["path"], status=status, seconds=round(seconds, 6))


def _route_of(scope: Scope) -> str:
    """The route's pattern; a bounded set, unlike paths."""
    route: str = getattr(scope.get("route"), "path", "") or "unmatched"
    return route


_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class _Answer:
    """Watches the answer go by and adds the headers that every answer has."""

    __slots__ = ("_request_id", "_scope", "_send", "status")

    def __init__(self, scope: Scope, send: Send, request_id: bytes) -> None:
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self._request_id), *_SECURITY_HEADERS]
            if self._scope["path"].startswith(("/api", "/broadcasting")) and not any(
                name == b"cache-control" for name, _ in headers
            ):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await self._send(message)


class CorsMiddleware(CORSMiddleware):
    """Starlette's, with a short way for requests that no browser sends from elsewhere: they have no `Origin`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or any(name == b"origin" for name, _ in scope["headers"]):
            await super().__call__(scope, receive, send)
            return

        async def varying(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Caches must not give this answer to a page of another origin.
                message["headers"] = [*message.get("headers", ()), (b"vary", b"Origin")]
            await send(message)

        await self.app(scope, receive, varying)


class HeadMiddleware:
    """Serves `HEAD` as the `GET` it stands for; the ASGI server leaves out the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy: the server must go on seeing HEAD.
        reading = {**scope, "method": "GET"}
        try:
            await self._app(reading, receive, send)
        finally:
            scope["route"] = reading.get("route")


class BodyLimitMiddleware:
    """Refuses bodies over a size, by their announced length or when they outgrow it."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced[:20]) > self._max_bytes:
            await http_problem(self._too_large())(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> BodyTooLargeProblem:
        return BodyTooLargeProblem(f"the body may have {self._max_bytes} bytes", maxBytes=self._max_bytes)
