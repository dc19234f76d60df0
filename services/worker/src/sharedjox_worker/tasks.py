"""The arq tasks. Each may run twice (arq is at-least-once), so each is idempotent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from arq.cron import CronJob, cron
from arq.worker import Function, func
from sharedjox_kit.clock import Clock
from sharedjox_kit.logs import get_logger
from sharedjox_kit.tasks import RELAY_TASK
from sharedjox_marketplace import tables
from sharedjox_marketplace.idempotency import IdempotencyRecord
from sharedjox_marketplace.wallet.actions import ReleaseDueEarnings
from sharedjox_outbox import claims
from sharedjox_outbox.claims import RecordPool
from sharedjox_outbox.metrics import RelayMetrics
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from .relay_runner import RelayRunner

if TYPE_CHECKING:
    from arq.typing import WorkerCoroutine

log = get_logger(__name__)

CONTEXT_KEY: Final = "services"
TABLES: Final = tables.metadata
"""Of the marketplace. An action's foreign keys are only understood once every table has been registered."""
_PRUNE_ROWS: Final = 5000
_RELEASES_PER_RUN: Final = 500


@dataclass(frozen=True, slots=True)
class TaskServices:
    """What the tasks work with; stands in arq's context under `CONTEXT_KEY`."""

    runner: RelayRunner
    outbox: RecordPool
    metrics: RelayMetrics
    engine: AsyncEngine
    release_due_earnings: ReleaseDueEarnings
    clock: Clock
    outbox_keep: dt.timedelta
    idempotency_keep: dt.timedelta


def _services(context: dict[str, Any]) -> TaskServices:
    services: TaskServices = context[CONTEXT_KEY]
    return services


async def relay_outbox(context: dict[str, Any]) -> None:
    """The bell: publish what is pending. Ends when a run that began after this has left nothing."""
    await _services(context).runner.ring_and_wait()


async def prune_outbox(context: dict[str, Any]) -> None:
    """Delete rows that were published long ago, in small transactions."""
    services = _services(context)
    total = 0
    while True:
        rows = await claims.prune(services.outbox, keep=services.outbox_keep, limit=_PRUNE_ROWS)
        total += rows
        services.metrics.pruned.inc(rows)
        if rows < _PRUNE_ROWS:
            break
    if total:
        log.info("outbox.pruned", rows=total)


async def prune_idempotency_keys(context: dict[str, Any]) -> None:
    """Forget the answers of requests that nobody will repeat any more."""
    services = _services(context)
    before = services.clock.now() - services.idempotency_keep
    async with services.engine.begin() as connection:
        await connection.execute(delete(IdempotencyRecord).where(IdempotencyRecord.created_at < before))


async def release_due_earnings(context: dict[str, Any]) -> None:
    """Pay freelancers whose clients did not confirm in time."""
    services = _services(context)
    released = await services.release_due_earnings(services.clock.now(), limit=_RELEASES_PER_RUN)
    if released:
        log.info("earnings.released", earnings=released)
        services.runner.ring()


def _task(function: Callable[[dict[str, Any]], Awaitable[None]]) -> WorkerCoroutine:
    """The protocol in arq names its first argument and allows any others; ours take none."""
    return cast("WorkerCoroutine", function)


def task_functions() -> list[Function]:
    """What can be enqueued. Time-outs are short: they decide how soon arq repeats what a dead worker had begun."""
    return [func(_task(relay_outbox), name=RELAY_TASK, timeout=20, keep_result=0, max_tries=1)]


def timed_tasks() -> list[CronJob]:
    """What runs by the clock, in one worker at a time."""
    return [
        cron(_task(prune_outbox), second=20, timeout=50, keep_result=0, max_tries=1),
        cron(_task(prune_idempotency_keys), minute={7, 37}, second=40, timeout=50, keep_result=0, max_tries=1),
        cron(_task(release_due_earnings), second=0, timeout=50, keep_result=0, max_tries=1),
    ]
