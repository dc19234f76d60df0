"""Liveness and readiness, and a small HTTP server for processes that serve no other HTTP.

`/healthz` says that the process's loop runs; `/readyz` says that what it needs answers, and turns false on drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import orjson
from prometheus_client import CollectorRegistry

from .metrics import CONTENT_TYPE, render

Check = Callable[[], Awaitable[object]]
"""Returns when the dependency answers; raises anything when it does not."""

_MAX_HEAD_BYTES: Final = 8192
_READ_SECONDS: Final = 5.0
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of `/readyz`: each dependency is `ok` or says what is wrong."""

    checks: Mapping[str, str]

    @property
    def is_ready(self) -> bool:
        """Whether everything answered."""
        return all(state == "ok" for state in self.checks.values())

    def to_json(self) -> bytes:
        """The body of the answer."""
        return orjson.dumps({"status": "ready" if self.is_ready else "not ready", "checks": dict(self.checks)})


class Health:
    """Asks a process's dependencies whether they are there."""

    def __init__(self, checks: Mapping[str, Check], *, timeout_seconds: float = 2.0) -> None:
        self._checks = dict(checks)
        self._timeout_seconds = timeout_seconds
        self._is_draining = False

    def start_draining(self) -> None:
        """From now on the process is not ready: balancers stop sending it new work."""
        self._is_draining = True

    async def readiness(self) -> Readiness:
        """Run all checks at once, each with a time limit."""
        async with asyncio.TaskGroup() as group:
            running = {name: group.create_task(self._run(check)) for name, check in self._checks.items()}
        states = {name: task.result() for name, task in running.items()}
        if self._is_draining:
            states["draining"] = "the process is shutting down"
        return Readiness(states)

    async def _run(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await check()
        except TimeoutError:
            return f"no answer within {self._timeout_seconds:g} s"
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the dependency is not there
            return f"{type(error).__name__}: {error}".split("\n", 1)[0]
        return "ok"


class AdminServer:
    """`/healthz`, `/readyz` and `/metrics` over HTTP/1.1, one request per connection.

    Use as an async context manager. `port` 0 takes a free one; `bound_port` tells which.
    """

    def __init__(self, *, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        self._host = host
        self._port = port
        self._health = health
        self._registry = registry
        self._server: asyncio.Server | None = None

    @property
    def bound_port(self) -> int:
        """The port that is listened on; only set inside the context."""
        if self._server is None:
            msg = "the server is not running"
            raise RuntimeError(msg)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> AdminServer:
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_MAX_HEAD_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            status, kind, body = await self._answer(head)
            writer.write(
                f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
            )
            if not head.startswith(b"HEAD "):
                writer.write(body)
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            return  # a probe that went away, or something that is not HTTP
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> tuple[int, str, bytes]:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return 405, _JSON, b'{"status":"only GET"}'
        if path == b"/healthz":
            return 200, _JSON, b'{"status":"ok"}'
        if path == b"/readyz":
            readiness = await self._health.readiness()
            return (200 if readiness.is_ready else 503), _JSON, readiness.to_json()
        if path == b"/metrics":
            return 200, CONTENT_TYPE, render(self._registry)
        return 404, _JSON, b'{"status":"not found"}'
