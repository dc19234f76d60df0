"""What the worker does by the clock, on a migrated database."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from arq.cron import CronJob
from arq.worker import Function
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sharedjox_kit.clock import SystemClock
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.idempotency import IdempotencyRecord
from sharedjox_marketplace.jobs.actions import ClaimJobAction, PostJobAction, UpdateJobStatusAction
from sharedjox_marketplace.jobs.rules import JobStatus
from sharedjox_marketplace.unit_of_work import Transactor
from sharedjox_marketplace.wallet.actions import ReleaseDueEarnings
from sharedjox_outbox.build import build_relay
from sharedjox_outbox.claims import RecordPool, Row
from sharedjox_outbox.metrics import RelayMetrics
from sharedjox_outbox.writer import append
from sharedjox_worker.relay_runner import RelayRunner
from sharedjox_worker.tasks import (
    CONTEXT_KEY,
    TaskServices,
    prune_idempotency_keys,
    prune_outbox,
    release_due_earnings,
    task_functions,
    timed_tasks,
)
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.outbox.conftest import wallet_event
from tests.support.processes import run_module


async def no_control(_row: Row, _payload: object) -> None:
    """No control rows here."""


@pytest.fixture
async def context(engine: AsyncEngine, outbox_pool: RecordPool, redis: Redis) -> dict[str, Any]:
    """arq's context as the worker fills it."""
    metrics = RelayMetrics(CollectorRegistry())
    relay = build_relay(pool=outbox_pool, redis=redis, app_id="1001", metrics=metrics, on_control=no_control)
    clock = SystemClock()
    return {
        CONTEXT_KEY: TaskServices(
            runner=RelayRunner(relay, sweep_seconds=1),
            outbox=outbox_pool,
            metrics=metrics,
            engine=engine,
            release_due_earnings=ReleaseDueEarnings(Transactor(engine, clock=clock)),
            clock=clock,
            outbox_keep=dt.timedelta(hours=24),
            idempotency_keep=dt.timedelta(hours=24),
        )
    }


async def test_prune_outbox_keeps_a_day(engine: AsyncEngine, outbox_pool: RecordPool, context: dict[str, Any]) -> None:
    async with engine.begin() as connection:
        await append(connection, [wallet_event(number) for number in range(1, 11)])
        await connection.execute(
            text(
                "UPDATE outbox_messages SET published_at = now() - CASE WHEN id % 2 = 0"
                " THEN interval '25 hours' ELSE interval '23 hours' END"
            )
        )
    await prune_outbox(context)
    assert await outbox_pool.fetchval("SELECT count(*) FROM outbox_messages") == 5
    assert context[CONTEXT_KEY].metrics.pruned._value.get() == 5


async def test_prune_idempotency_keys_keeps_a_day(engine: AsyncEngine, context: dict[str, Any]) -> None:
    now = dt.datetime.now(dt.UTC)
    async with engine.begin() as connection:
        for number, age in enumerate((25, 23)):
            values = {"scope": "s", "key_hash": bytes([number]) * 32, "fingerprint": b"f" * 32}
            await connection.execute(
                insert(IdempotencyRecord).values(**values, created_at=now - dt.timedelta(hours=age))
            )
    await prune_idempotency_keys(context)
    async with engine.connect() as connection:
        left = (await connection.execute(select(IdempotencyRecord.key_hash))).scalars().all()
    assert left == [b"\x01" * 32]


async def complete_a_job(engine: AsyncEngine) -> None:
    """Clara's job, done by Frida for 50.00: her earning waits for Clara's confirmation."""
    client, freelancer = Actor(2, Role.CLIENT), Actor(3, Role.FREELANCER)
    transactor = Transactor(engine)
    job = await transactor.run(PostJobAction(client, "t", "", 5000, 15000, [], 60))
    await transactor.run(ClaimJobAction(freelancer, job.id))
    for status in (JobStatus.IN_PROGRESS, JobStatus.SUBMITTED):
        await transactor.run(UpdateJobStatusAction(freelancer, job.id, status, deliverables=["code"]))
    await transactor.run(UpdateJobStatusAction(client, job.id, JobStatus.COMPLETED))


async def pending_earnings(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        query = text("SELECT count(*) FROM transactions WHERE type = 'job_earning' AND status = 'pending'")
        return int((await connection.execute(query)).scalar_one())


async def test_due_earnings_are_paid_once(engine: AsyncEngine, postgres_url: str, context: dict[str, Any]) -> None:
    """Not before 72 hours have passed, and then without the client."""
    run_module("sharedjox_api.main", "seed", env={"DATABASE_URL": postgres_url})
    await complete_a_job(engine)
    assert await pending_earnings(engine) == 1
    await release_due_earnings(context)
    assert await pending_earnings(engine) == 1
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE transactions SET release_at = release_at - interval '73 hours' WHERE release_at IS NOT NULL")
        )
        await connection.execute(text("DELETE FROM outbox_messages"))
    await release_due_earnings(context)
    await release_due_earnings(context)
    assert await pending_earnings(engine) == 0
    async with engine.connect() as connection:
        query = text(
            "SELECT payload->>'newBalance' FROM outbox_messages"
            " WHERE event_name = 'wallet.updated' AND payload->>'userId' = '3'"
        )
        assert (await connection.execute(query)).scalars().all() == ["145.00"]


def test_no_task_outlives_its_usefulness() -> None:
    """Time-outs decide how soon arq repeats what a dead worker had begun; results are nobody's business."""
    tasks: list[Function | CronJob] = [*task_functions(), *timed_tasks()]
    for function in tasks:
        assert function.timeout_s is not None
        assert function.timeout_s <= 60
        assert function.keep_result_s == 0
