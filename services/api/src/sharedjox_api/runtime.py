"""What a running api holds: built once in `create_app`, opened and closed by its lifespan."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sharedjox_kit.clock import Clock
from sharedjox_kit.health import Health
from sharedjox_kit.tracing import Tracing
from sharedjox_marketplace.accounts.passwords import Passwords
from sharedjox_marketplace.unit_of_work import Transactor
from sqlalchemy.ext.asyncio import AsyncEngine

from .auth.tokens import AccessTokens
from .doorbell import Doorbell
from .http.rate_limits import RateLimiter
from .settings import ApiSettings


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that requests share."""

    settings: ApiSettings
    engine: AsyncEngine
    reading_engine: AsyncEngine
    """The same pool in autocommit: a read needs no BEGIN and no ROLLBACK."""
    transactor: Transactor
    redis: Redis
    doorbell: Doorbell
    passwords: Passwords
    tokens: AccessTokens
    limiter: RateLimiter
    registry: CollectorRegistry
    health: Health
    tracing: Tracing
    clock: Clock


def runtime_of(request: Request) -> Runtime:
    """The runtime of the app that serves this request."""
    runtime: Runtime = request.app.state.runtime
    return runtime
