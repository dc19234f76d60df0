"""The composition root's HTTP half: FastAPI under the WebSocket entry."""

from __future__ import annotations

from fastapi import FastAPI

from .gateway import Gateway
from .http.fallback import add_api_routes
from .http.health import create_health_router


def create_http_app(gateway: Gateway) -> FastAPI:
    """Everything that is not a WebSocket."""
    app = FastAPI(title="SharedJox gateway", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(create_health_router(gateway))
    add_api_routes(app, gateway.api)
    return app
