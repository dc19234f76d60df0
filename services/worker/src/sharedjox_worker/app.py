"""The composition root: builds the worker's parts, runs them, takes them down in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import socket
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any, Final

import asyncpg
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sharedjox_kit.clock import Clock, SystemClock
from sharedjox_kit.cluster_clients import ClusterClients
from sharedjox_kit.ending import end_tasks
from sharedjox_kit.environment import refuse
from sharedjox_kit.health import AdminServer, Check, Health
from sharedjox_kit.logs import get_logger
from sharedjox_kit.metrics import create_registry
from sharedjox_kit.processes import ProcessReport, fingerprint, own_report, reporting
from sharedjox_kit.redis import create_redis
from sharedjox_kit.redis_address import parse_cluster_url
from sharedjox_kit.tasks import QUEUE_NAME
from sharedjox_kit.tracing import Tracing, start_tracing
from sharedjox_marketplace import channel_rules
from sharedjox_marketplace.alerts.actions import SendJobAlerts
from sharedjox_marketplace.database import create_engine
from sharedjox_marketplace.unit_of_work import Transactor
from sharedjox_marketplace.wallet.actions import ReleaseDueEarnings
from sharedjox_outbox import claims
from sharedjox_outbox.build import build_relay
from sharedjox_outbox.claims import RecordPool
from sharedjox_outbox.metrics import RelayMetrics
from sharedjox_outbox.postgres import create_relay_pool, is_poolers_doing, past_pooler
from sharedjox_outbox.relay import Relay
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from .access import AccessControl
from .push.delivery import PushDeliveries
from .push.metrics import PushMetrics
from .push.vapid import Vapid
from .relay_runner import RelayRunner
from .settings import WorkerSettings
from .supervision import keep_running
from .tasks import CONTEXT_KEY, TaskServices, task_functions, timed_tasks
from .waking import WakingWorker, create_task_queue, listen_for_wakes
from .webhooks.dispatcher import WebhookDispatcher
from .webhooks.metrics import WebhookMetrics

log = get_logger(__name__)

Activities = dict[str, Callable[[], Coroutine[Any, Any, None]]]
"""What runs beside the relay and the tasks until the stop, by name; what fails is begun again."""

_LAG_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.5
_HEALTH_KEY_SECONDS: Final = 15
_QUEUE_RETRIES: Final = 20
_ALERTS_POLL_SECONDS: Final = 1.0
_FIRST_LOOK_SECONDS: Final = 5.0


class WorkerApp:
    """One worker process. `run` works until `request_stop`."""

    def __init__(self, settings: WorkerSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._stop = asyncio.Event()
        self._tasks: WakingWorker | None = None

    def request_stop(self) -> None:
        """Finish what is under way, then return from `run`."""
        self._stop.set()

    async def run(self) -> None:
        """Build everything, work, take everything down."""
        settings = self._settings
        async with contextlib.AsyncExitStack() as stack:
            registry = create_registry(service="worker", version=version("sharedjox-worker"))
            outbox = await create_relay_pool(settings.database_url)
            stack.push_async_callback(_close_pool, outbox)
            await _refuse_pooler(outbox)
            # The relay decides itself when to try again, so its client must not: a hidden retry would hide the outage.
            redis = create_redis(settings.redis_url, retries=0, timeout_seconds=3.0)
            stack.push_async_callback(redis.aclose)
            engine = create_engine(settings.database_url, pool_size=4, max_overflow=4, application_name="worker")
            stack.push_async_callback(engine.dispose)

            tracing = start_tracing("sharedjox-worker", settings.otel_exporter_otlp_endpoint)
            # Its last export waits for the collector, so it does that beside the loop.
            stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
            metrics = RelayMetrics(registry)
            checks: dict[str, Check] = {"postgres": lambda: _ask_postgres(engine), "redis": redis.ping}
            channels = None
            if settings.redis_channels_url:
                channels = ClusterClients(parse_cluster_url(settings.redis_channels_url))
                stack.push_async_callback(channels.aclose)
                checks["channels"] = channels.check
            relay = self._build_relay(
                outbox=outbox,
                redis=redis,
                channels=channels,
                engine=engine,
                metrics=metrics,
                registry=registry,
                tracing=tracing,
            )
            stack.push_async_callback(relay.aclose)
            runner = RelayRunner(relay, sweep_seconds=settings.relay_sweep_seconds)
            health = Health(checks)
            if settings.worker_metrics_port:
                admin = AdminServer(
                    host=settings.worker_metrics_host,
                    port=settings.worker_metrics_port,
                    health=health,
                    registry=registry,
                )
                try:
                    await stack.enter_async_context(admin)
                except OSError as error:
                    refuse(f"WORKER_METRICS_PORT={settings.worker_metrics_port}: {error.strerror}; 0 turns it off")
            services = TaskServices(
                runner=runner,
                outbox=outbox,
                metrics=metrics,
                engine=engine,
                release_due_earnings=ReleaseDueEarnings(Transactor(engine, clock=self._clock)),
                clock=self._clock,
                outbox_keep=dt.timedelta(hours=settings.outbox_keep_hours),
                idempotency_keep=dt.timedelta(hours=settings.idempotency_keep_hours),
            )
            webhook_redis = create_redis(settings.redis_url)
            stack.push_async_callback(webhook_redis.aclose)
            webhooks = WebhookDispatcher(
                webhook_redis, settings.load_webhook_apps, settings.delivery(), WebhookMetrics(registry)
            )
            await stack.enter_async_context(reporting(webhook_redis, self._reports()))
            pushes = self._build_pushes(engine, registry)
            stack.push_async_callback(pushes.aclose)
            alerts = SendJobAlerts(Transactor(engine, clock=self._clock, on_commit=runner.ring))
            activities: Activities = {
                "wakes": lambda: listen_for_wakes(redis, self._on_wake(runner)),
                "webhooks": webhooks.run,
                "pushes": pushes.run,
                "alerts": lambda: _send_alerts(alerts),
            }
            await self._work(services, health, activities)

    def _build_pushes(self, engine: AsyncEngine, registry: CollectorRegistry) -> PushDeliveries:
        settings = self._settings
        return PushDeliveries(
            engine,
            Vapid(settings.vapid_private_key.get_secret_value(), settings.vapid_subject),
            PushMetrics(registry),
            clock=self._clock,
            allow_private=settings.app_env.allows_sample_secrets,
        )

    def _reports(self) -> Callable[[], ProcessReport]:
        settings = self._settings
        # A secret that signs nothing may be a sample; it is nobody's business then.
        signing = [app for app in settings.load_webhook_apps() if app.webhooks]
        return own_report(
            "worker",
            version("sharedjox-worker"),
            settings={
                "APP_ENV": settings.app_env.value,
                "REDIS_CHANNELS_URL": settings.channels_place,
                "VAPID_PRIVATE_KEY": fingerprint(settings.vapid_private_key.get_secret_value()),
                **settings.history().settings(),
            },
            apps={app.id: [app.key, fingerprint(app.secret)] for app in signing},
        )

    def _build_relay(
        self,
        *,
        outbox: RecordPool,
        redis: Redis,
        channels: ClusterClients | None,
        engine: AsyncEngine,
        metrics: RelayMetrics,
        registry: CollectorRegistry,
        tracing: Tracing,
    ) -> Relay:
        settings = self._settings

        async def who_may_stay(channel: str, user_ids: set[int]) -> frozenset[int]:
            async with engine.connect() as connection:
                return await channel_rules.who_may_stay(connection, channel, user_ids)

        return build_relay(
            pool=outbox,
            redis=redis,
            channels=channels,
            app_id=settings.reverb_app_id,
            metrics=metrics,
            on_control=AccessControl(
                redis, app_id=settings.reverb_app_id, who_may_stay=who_may_stay, registry=registry
            ),
            settings=settings.relay(),
            history=settings.history(),
            max_data_bytes=settings.relay_max_event_bytes,
            tracing=tracing,
        )

    def _on_wake(self, runner: RelayRunner) -> Callable[[], None]:
        def on_wake() -> None:
            runner.ring()
            if self._tasks is not None:
                self._tasks.wake()

        return on_wake

    async def _work(self, services: TaskServices, health: Health, activities: Activities) -> None:
        """Run all activities until the stop, then end them in an order that loses nothing."""
        runner = services.runner

        async def watch_lag() -> None:
            while True:
                services.metrics.observe_lag(await claims.read_lag(services.outbox))
                await asyncio.sleep(_LAG_SECONDS)

        async with asyncio.TaskGroup() as group:
            relaying = group.create_task(runner.run(), name="relay")
            working = group.create_task(keep_running("tasks", lambda: self._run_tasks(services)), name="tasks")
            others = [
                group.create_task(keep_running(name, activity), name=name)
                for name, activity in (activities | {"lag": watch_lag}).items()
            ]
            log.info("worker.started", pid=os.getpid())
            await self._stop.wait()
            log.info("worker.stopping")
            health.start_draining()
            # Tasks first: they wait for the relay.
            await self._end(working, None if self._tasks is None else self._tasks.stop)
            await self._end(relaying, runner.stop)
            await end_tasks(*others)
        log.info("worker.stopped")

    async def _end(self, activity: asyncio.Task[None], ask: Callable[[], None] | None) -> None:
        """Ask an activity to end, and cancel it when it does not. A claim that is cancelled rolls back: no harm."""
        if ask is not None:
            ask()
            await asyncio.wait([activity], timeout=self._settings.worker_shutdown_seconds)
        activity.cancel()

    async def _run_tasks(self, services: TaskServices) -> None:
        """One life of the arq worker. Raises when Redis stays away longer than its client retries."""
        queue = create_task_queue(self._settings.redis_url, retries=_QUEUE_RETRIES)
        worker = WakingWorker(
            functions=task_functions(),
            cron_jobs=timed_tasks(),
            redis_pool=queue,
            queue_name=QUEUE_NAME,
            max_jobs=self._settings.worker_max_tasks,
            job_timeout=50,
            keep_result=0,
            poll_delay=_POLL_SECONDS,
            health_check_interval=_HEALTH_KEY_SECONDS,
            health_check_key=f"{QUEUE_NAME}:health-check:{socket.gethostname()}:{os.getpid()}",
            job_serializer=queue.job_serializer,
            job_deserializer=queue.job_deserializer,
            timezone=dt.UTC,
            ctx={CONTEXT_KEY: services},
        )
        self._tasks = worker
        try:
            await worker.main()
        finally:
            self._tasks = None
            await _take_down(worker, queue, within_seconds=self._settings.worker_shutdown_seconds / 2)


async def _send_alerts(alerts: SendJobAlerts) -> None:
    """Tell freelancers of new jobs, batch after batch; look again a second after there was nothing to tell."""
    while True:
        if await alerts() is None:
            await asyncio.sleep(_ALERTS_POLL_SECONDS)


async def _take_down(worker: WakingWorker, queue: Redis, *, within_seconds: float) -> None:
    await worker.finish_tasks(within_seconds=within_seconds)
    with contextlib.suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await queue.delete(worker.health_check_key)
    await queue.aclose()


async def _ask_postgres(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def _refuse_pooler(pool: RecordPool) -> None:
    """End with a clear line when the relay cannot work on this address. A Postgres that is away is waited for later."""
    try:
        async with pool.acquire(timeout=_FIRST_LOOK_SECONDS):
            pass
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        if is_poolers_doing(error):
            refuse(past_pooler("workers"))


async def _close_pool(pool: RecordPool) -> None:
    """Close politely, and not at all politely when a server does not answer."""
    try:
        async with asyncio.timeout(2.0):
            await pool.close()
    except TimeoutError:
        pool.terminate()
