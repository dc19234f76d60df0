"""The short way from a path to its endpoint: one look-up instead of FastAPI's search through routers and their layers.

What is not found here, or does not validate, takes FastAPI's way: other methods, unknown paths, the documentation, and
every refusal that names fields (ADR 35).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi.routing import APIRoute
from sharedjox_marketplace.errors import DomainError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import refusal_response
from .routes import ADMITTED, ExactRequest, PublicRoute

_Target = PublicRoute | None
"""None: found, and left to FastAPI."""


class DirectRoutes:
    """Pure ASGI. `routes` are FastAPI's own, in the order in which it would try them, with their whole paths."""

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._fixed: dict[tuple[str, str], _Target] = {}
        self._patterns: dict[str, list[tuple[APIRoute, _Target]]] = {}
        for route in routes:
            if isinstance(route, APIRoute):
                self._add(route)

    def _add(self, route: APIRoute) -> None:
        target = route if isinstance(route, PublicRoute) and route.is_direct else None
        for method in route.methods or ():
            patterns = self._patterns.setdefault(method, [])
            # A path that an earlier pattern matches too is that one's.
            if route.param_convertors or any(earlier.path_regex.match(route.path) for earlier, _ in patterns):
                patterns.append((route, target))
            else:
                self._fixed.setdefault((method, route.path), target)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        target, path_params = self._find(scope)
        if target is None:
            await self._app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = target, path_params
        request = ExactRequest(scope, receive)
        try:
            response = await target.answer(request)
        except (DomainError, HTTPException) as error:
            response = refusal_response(error)
        if response is None:
            scope[ADMITTED] = True
            await self._app(scope, await _once_more(request, receive), send)
        else:
            await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[_Target, dict[str, Any]]:
        if scope["type"] != "http" or scope.get("root_path"):
            return None, {}
        method, path = scope["method"], scope["path"]
        target = self._fixed.get((method, path))
        if target is not None:
            return target, {}
        for route, candidate in self._patterns.get(method, ()):
            found = route.path_regex.match(path)
            if found:
                converters = route.param_convertors
                return candidate, {name: converters[name].convert(text) for name, text in found.groupdict().items()}
        return None, {}


async def _once_more(request: ExactRequest, receive: Receive) -> Receive:
    """The request's body for whoever reads it after us, then whatever comes."""
    pending: list[Message] = [{"type": "http.request", "body": await request.body(), "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again
