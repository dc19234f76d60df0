"""The composition root's HTTP half: FastAPI under the WebSocket entry."""

from __future__ import annotations

import httpx
from fastapi import FastAPI

from .gateway import Gateway
from .http.fallback import add_api_routes
from .http.health import create_health_router
from .http.xhr import create_xhr_router


def create_http_app(gateway: Gateway, forward: httpx.AsyncClient) -> FastAPI:
    """Everything that is not a WebSocket. `forward` reaches the other processes of the cluster."""
    app = FastAPI(title="SharedJox gateway", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(create_health_router(gateway))
    app.include_router(create_xhr_router(gateway, forward))
    add_api_routes(app, gateway.api)
    return app
