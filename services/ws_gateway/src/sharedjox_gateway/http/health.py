"""Liveness, readiness and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sharedjox_gateway.gauges import gauges
from sharedjox_gateway.metrics import create_registry

if TYPE_CHECKING:
    from sharedjox_gateway.gateway import Gateway


def create_health_router(gateway: Gateway) -> APIRouter:
    """`/healthz` says the loop runs; `/readyz` that Redis answers and no drain is on; `/up` is Reverb's name for it."""
    router = APIRouter()
    registry = create_registry(gateway.stats, lambda: gauges(gateway))

    @router.get("/healthz")
    @router.get("/up")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz(response: Response) -> dict[str, object]:
        if not gateway.is_ready:
            response.status_code = 503
        return {
            "status": "ready" if gateway.is_ready else "not ready",
            "redis": gateway.broker.is_usable,
            "draining": gateway.is_draining,
        }

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
