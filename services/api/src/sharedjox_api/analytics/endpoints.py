"""`/api/analytics`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sharedjox_marketplace.accounts.errors import InvalidTokenError
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.errors import NotAllowedError

from sharedjox_api.http.answers import json_response
from sharedjox_api.http.commands import QueryDep
from sharedjox_api.http.openapi import documented
from sharedjox_api.http.routes import AuthenticatedRoute

from .schemas import AnalyticsAnswer
from .service import realtime_figures

router = APIRouter(prefix="/api/analytics", tags=["operations"], route_class=AuthenticatedRoute)


@router.get("/realtime", responses=documented(AnalyticsAnswer, InvalidTokenError, NotAllowedError))
async def realtime(query: QueryDep) -> Response:
    """Event throughput, latency percentiles per event type, connections per node: the last minute, for operators."""
    async with query.open() as (connection, actor):
        if actor.role is not Role.OPERATOR:
            raise NotAllowedError("only operators see these figures")
        figures = await realtime_figures(connection, query.runtime.redis, query.runtime.clock.now())
    return json_response(figures)
