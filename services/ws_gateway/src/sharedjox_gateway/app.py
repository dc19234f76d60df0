"""The composition root's HTTP half: FastAPI under the WebSocket entry."""

from __future__ import annotations

import httpx
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from .gateway import Gateway
from .http.fallback import add_api_routes
from .http.health import create_health_router
from .http.xhr import create_hop_router, create_xhr_router


def create_http_app(gateway: Gateway, forward: httpx.AsyncClient) -> FastAPI:
    """Everything that is not a WebSocket. `forward` reaches the other processes of the cluster."""
    app = FastAPI(title="SharedJox gateway", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(ClientDisconnect, _nobody_is_left)
    app.include_router(create_health_router(gateway))
    app.include_router(create_xhr_router(gateway, forward))
    add_api_routes(app, gateway.api)
    return app


def create_hop_app(gateway: Gateway) -> FastAPI:
    """What other gateways reach of this one, and nothing besides."""
    app = FastAPI(title="SharedJox gateway, inside", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(ClientDisconnect, _nobody_is_left)
    app.include_router(create_hop_router(gateway))
    return app


async def _nobody_is_left(_request: Request, _error: Exception) -> Response:
    """A peer that leaves in the middle of a request's body is no failure of ours, and gets no line in the log."""
    return Response(status_code=400)
