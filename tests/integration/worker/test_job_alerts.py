"""Who is told of a new job: those who asked for it and have every skill, once each, in batches."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from redis.asyncio import Redis
from sharedjox_contracts.redis_layout import log_key
from sharedjox_marketplace.accounts.actions import UpdateAccountAction
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.alerts.actions import SendJobAlerts
from sharedjox_marketplace.errors import NotAllowedError
from sharedjox_marketplace.jobs.actions import UpdateJobStatusAction
from sharedjox_marketplace.jobs.rules import JobStatus
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.polling import eventually
from tests.support.push_service import push_service

from .conftest import StartWorker
from .market import Market


@pytest.fixture
def market(engine: AsyncEngine) -> Market:
    return Market(engine)


async def _send_all(send: SendJobAlerts) -> list[int]:
    """Tell until nothing waits; returns how many each batch told."""
    batches = []
    while (told := await send()) is not None:
        batches.append(told)
    return batches


@pytest.mark.parametrize("role", [Role.CLIENT, Role.OPERATOR])
async def test_only_freelancers_may_ask_for_alerts(market: Market, role: Role) -> None:
    person = await market.person(role)
    with pytest.raises(NotAllowedError):
        await market.transactor.run(UpdateAccountAction(person, wants_job_alerts=True))


async def test_only_who_asked_and_has_every_skill_is_told(market: Market) -> None:
    client = await market.person(Role.CLIENT)
    fits = await market.person(Role.FREELANCER, "react", "python", "figma", alerts=True)
    await market.person(Role.FREELANCER, "react", "python", "figma")
    await market.person(Role.FREELANCER, "react", alerts=True)
    await market.person(Role.FREELANCER, alerts=True)
    suspended = await market.person(Role.FREELANCER, "react", "python", alerts=True)
    await market.sql("UPDATE users SET suspended_at = now() WHERE id = :id", id=suspended.id)
    turned_off = await market.person(Role.FREELANCER, "react", "python", alerts=True)
    await market.transactor.run(UpdateAccountAction(turned_off, wants_job_alerts=False))
    job = await market.job(client, "react", "python")
    assert await _send_all(SendJobAlerts(market.transactor)) == [1]
    assert await market.alerted(job) == [fits.id]
    (event,) = await market.sql(
        "SELECT channel, payload FROM outbox_messages WHERE event_name = 'notification.created'"
    )
    assert event.channel == f"private-user.{fits.id}"
    assert (event.payload["type"], event.payload["jobId"]) == ("job.alert", job)
    assert await market.sql("SELECT 1 FROM job_alerts") == []


async def test_a_job_that_is_no_longer_active_is_no_news(market: Market) -> None:
    client = await market.person(Role.CLIENT)
    await market.person(Role.FREELANCER, "react", alerts=True)
    job = await market.job(client, "react")
    await market.transactor.run(UpdateJobStatusAction(client, job, JobStatus.CANCELLED))
    assert await _send_all(SendJobAlerts(market.transactor)) == [0]
    assert await market.alerted(job) == []


async def test_many_are_told_in_batches_by_several_workers_once_each(market: Market) -> None:
    client = await market.person(Role.CLIENT)
    await market.freelancers(250, "react")
    jobs = [await market.job(client, "react") for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(_send_all(SendJobAlerts(market.transactor, batch=40))) for _ in range(3)]
    told = [batch for worker in workers for batch in worker.result()]
    # A worker that finds every job taken by others leaves; what then remains is the others' work.
    assert (sum(told), max(told)) == (500, 40)
    for job in jobs:
        alerted = await market.alerted(job)
        assert (len(alerted), alerted) == (250, sorted(alerted))


async def test_a_job_that_fits_many_does_not_hold_up_the_next(market: Market) -> None:
    client = await market.person(Role.CLIENT)
    await market.freelancers(50, "react")
    rare = await market.person(Role.FREELANCER, "cobol", alerts=True)
    send = SendJobAlerts(market.transactor, batch=10)
    await market.job(client, "react")
    await send()
    job = await market.job(client, "cobol")
    await send()
    assert await market.alerted(job) == [rare.id]


async def test_a_batch_that_fails_is_told_by_the_next_worker_once(market: Market) -> None:
    """The transaction of the second batch breaks off: what it told is undone, and what was told before is kept."""
    client = await market.person(Role.CLIENT)
    await market.freelancers(30, "react")
    job = await market.job(client, "react")
    send = SendJobAlerts(market.transactor, batch=10)

    assert await send() == 10
    # The eleventh of the outbox's rows cannot be written, and the rest of its transaction with it.
    await market.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'disk on fire' USING ERRCODE = '58030'; END $$"
    )
    await market.sql("CREATE TRIGGER refuse BEFORE INSERT ON outbox_messages FOR EACH ROW EXECUTE FUNCTION refuse()")
    with pytest.raises(asyncpg.PostgresError, match="disk on fire"):
        await send()
    await market.sql("DROP TRIGGER refuse ON outbox_messages")
    assert len(await market.alerted(job)) == 10
    assert await _send_all(send) == [10, 10, 0]
    assert len(set(await market.alerted(job))) == 30


async def test_the_database_itself_refuses_a_second_alert(market: Market) -> None:
    client = await market.person(Role.CLIENT)
    await market.person(Role.FREELANCER, "react", alerts=True)
    job = await market.job(client, "react")
    send = SendJobAlerts(market.transactor)
    assert await _send_all(send) == [1]
    await market.sql("INSERT INTO job_alerts (job_id) VALUES (:job)", job=job)
    assert await _send_all(send) == [0]
    assert len(await market.alerted(job)) == 1


async def test_a_freelancer_hears_of_a_new_job_live_and_in_the_browser(
    market: Market, redis: Redis, start_worker: StartWorker
) -> None:
    start_worker()
    client = await market.person(Role.CLIENT)
    async with push_service() as service:
        browser = service.browser("frida")
        frida = await market.person(Role.FREELANCER, "react", alerts=True, browser=browser)
        job = await market.job(client, "react")
        message = (await eventually(lambda: service.messages(browser), 10))[0]
        assert (message["type"], message["jobId"]) == ("job.alert", job)
        log = log_key("1001", f"private-user.{frida.id}")
        await eventually(lambda: redis.xlen(log), 10)


async def test_rare_skills_are_found_through_the_index(market: Market) -> None:
    """Of 20,000 who want alerts one has the skill: nobody walks through the others."""
    await market.freelancers(20_000, "react")
    await market.sql("UPDATE users SET skills = '{react,cobol}' WHERE id = (SELECT max(id) FROM users)")
    await market.sql("ANALYZE users")
    plan = await market.sql(
        "EXPLAIN SELECT id FROM users WHERE wants_job_alerts AND suspended_at IS NULL AND role = 'freelancer'"
        " AND skills @> '{cobol}' AND id > 0 ORDER BY id LIMIT 100"
    )
    assert any("ix_users_alert_skills" in row[0] for row in plan), plan
    common = await market.sql(
        "EXPLAIN SELECT id FROM users WHERE wants_job_alerts AND suspended_at IS NULL AND role = 'freelancer'"
        " AND skills @> '{react}' AND id > 500 ORDER BY id LIMIT 100"
    )
    assert any("Index Scan" in row[0] for row in common), common
    assert not any("Sort" in row[0] for row in common), common
