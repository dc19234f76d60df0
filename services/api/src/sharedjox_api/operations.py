"""`/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from sharedjox_kit.metrics import CONTENT_TYPE, render

from .http.answers import JSON
from .http.openapi import PUBLIC
from .runtime import runtime_of

router = APIRouter(tags=["operations"])


@router.get("/healthz", openapi_extra=PUBLIC, responses={200: {"description": "The process's loop runs."}})
async def healthz() -> Response:
    """Liveness."""
    return Response(b'{"status":"ok"}', media_type=JSON)


@router.get(
    "/readyz",
    openapi_extra=PUBLIC,
    responses={200: {"description": "Ready."}, 503: {"description": "A dependency does not answer, or draining."}},
)
async def readyz(request: Request) -> Response:
    """Whether Postgres and Redis answer."""
    readiness = await runtime_of(request).health.readiness()
    return Response(readiness.to_json(), 200 if readiness.is_ready else 503, media_type=JSON)


@router.get(
    "/metrics",
    openapi_extra=PUBLIC,
    response_class=PlainTextResponse,
    responses={200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
)
async def metrics(request: Request) -> Response:
    """Prometheus."""
    return Response(render(runtime_of(request).registry), headers={"Content-Type": CONTENT_TYPE})
