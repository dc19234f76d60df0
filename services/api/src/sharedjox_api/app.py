"""The composition root: everything is built here, opened by the lifespan, and closed in reverse."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from sharedjox_kit.clock import Clock, SystemClock
from sharedjox_kit.health import Health
from sharedjox_kit.metrics import create_registry
from sharedjox_kit.processes import ProcessReport, fingerprint, own_report, reporting
from sharedjox_kit.redis import create_redis
from sharedjox_kit.tracing import start_tracing
from sharedjox_marketplace.accounts.passwords import Passwords
from sharedjox_marketplace.database import create_engine
from sharedjox_marketplace.unit_of_work import Transactor
from sqlalchemy import text

from . import operations
from .analytics import endpoints as analytics
from .auth import endpoints as auth
from .auth.tokens import AccessTokens
from .broadcasting import endpoints as broadcasting
from .doorbell import Doorbell, create_arq
from .http.direct_routes import DirectRoutes
from .http.middlewares import BodyLimitMiddleware, CorsMiddleware, HeadMiddleware, RequestMiddleware
from .http.openapi import install_openapi
from .http.problems import add_problem_handlers
from .http.rate_limits import RateLimiter
from .jobs import endpoints as jobs
from .migrations import newest_revision
from .notifications import endpoints as notifications
from .runtime import Runtime
from .settings import ApiSettings
from .spa import SinglePageApp
from .wallet import endpoints as wallet

_DESCRIPTION: Final = (
    "Accounts, jobs, wallets, notifications and channel authorization of SharedJox. Errors are RFC 9457 problem"
    " documents with a stable `code`. Every mutating call takes `Idempotency-Key`. Lists are paged by cursor."
)
_ROUTERS: Final = (
    auth.public,
    auth.router,
    jobs.router,
    wallet.router,
    notifications.router,
    notifications.push,
    analytics.router,
    broadcasting.router,
)
_ASKED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "X-CSRF-TOKEN",
    "X-Requested-With",
    "X-Request-ID",
    "X-Socket-ID",
    "traceparent",
)
_SHOWN_HEADERS: Final = ("ETag", "Idempotent-Replayed", "Retry-After", "X-Request-ID")


def create_app(settings: ApiSettings, *, clock: Clock | None = None) -> FastAPI:
    """The api on these settings. Nothing connects before its lifespan starts, and not all of it then."""
    runtime = _build_runtime(settings, clock or SystemClock())
    app = FastAPI(
        title="SharedJox",
        version=version("sharedjox-api"),
        description=_DESCRIPTION,
        lifespan=_lifespan,
        openapi_url="/api/openapi.json",
        docs_url="/api/docs",
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # we have our own
    )
    app.state.runtime = runtime
    for router in _ROUTERS:
        app.include_router(router)
    app.include_router(operations.router)
    routes = [route for router in _ROUTERS for route in router.routes]
    add_problem_handlers(app, [*routes, *operations.router.routes])
    install_openapi(app)
    if settings.web_dist_dir is not None:
        app.mount("/", SinglePageApp(settings.web_dist_dir), name="web")
    # The last one added is the outermost.
    app.add_middleware(DirectRoutes, routes=routes)
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(RequestMiddleware, registry=runtime.registry, tracing=runtime.tracing)
    app.add_middleware(
        CorsMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=_ASKED_HEADERS,
        expose_headers=_SHOWN_HEADERS,
        max_age=600,
    )
    return app


def _build_runtime(settings: ApiSettings, clock: Clock) -> Runtime:
    registry = create_registry(service="api", version=version("sharedjox-api"))
    engine = create_engine(
        settings.database_url,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        application_name="sharedjox-api",
        prepared_statements=settings.database_prepared_statements,
    )
    # One quick try: what needs Redis in a request either goes on without it or does its own waiting.
    redis = create_redis(settings.redis_url, retries=0, timeout_seconds=2.0)
    doorbell = Doorbell(create_arq(settings.redis_url), registry)

    async def postgres_answers() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def redis_answers() -> None:
        await redis.ping()

    return Runtime(
        settings=settings,
        engine=engine,
        reading_engine=engine.execution_options(isolation_level="AUTOCOMMIT"),
        transactor=Transactor(engine, clock=clock, on_commit=doorbell.ring),
        redis=redis,
        doorbell=doorbell,
        passwords=Passwords(
            time_cost=settings.password_time_cost,
            memory_kib=settings.password_memory_kib,
            threads=settings.password_threads,
        ),
        tokens=AccessTokens(*settings.jwt_secrets, lifetime_seconds=settings.access_token_seconds),
        limiter=RateLimiter(redis, registry),
        registry=registry,
        health=Health({"postgres": postgres_answers, "redis": redis_answers}),
        tracing=start_tracing("sharedjox-api", settings.otel_exporter_otlp_endpoint),
        clock=clock,
    )


def _reports(settings: ApiSettings) -> Callable[[], ProcessReport]:
    return own_report(
        "api",
        version("sharedjox-api"),
        settings={
            "APP_ENV": settings.app_env.value,
            "SCHEMA_REVISION": newest_revision(),
            "JWT_SECRET": fingerprint(settings.jwt_secret.get_secret_value()),
            "JWT_ACCEPTED_SECRETS": ",".join(map(fingerprint, settings.jwt_secrets[1:])),
            "VAPID_PRIVATE_KEY": fingerprint(settings.vapid_private_key.get_secret_value()),
        },
        apps={
            settings.reverb_app_id: [
                settings.reverb_app_key,
                fingerprint(settings.reverb_app_secret.get_secret_value()),
            ]
        },
    )


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    runtime: Runtime = app.state.runtime
    async with contextlib.AsyncExitStack() as cleanup:
        cleanup.callback(runtime.tracing.shutdown)
        cleanup.callback(runtime.passwords.close)
        cleanup.push_async_callback(runtime.engine.dispose)
        cleanup.push_async_callback(runtime.redis.aclose)
        await cleanup.enter_async_context(runtime.doorbell.running())
        await cleanup.enter_async_context(reporting(runtime.redis, _reports(runtime.settings)))
        yield
        runtime.health.start_draining()
