"""Live access: who loses a right hears so from every gateway within a second, nobody else does."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from sharedjox_contracts.channels import presence_job, private_job, private_user
from sharedjox_contracts.control import AccessChanged, Close, Command, SessionRevoked, Unsubscribe, decode_command
from sharedjox_contracts.events import Payload
from sharedjox_contracts.publication import decode_publication
from sharedjox_contracts.redis_layout import CONTROL_CHANNEL, grants_key, live_topic, session_sockets_key
from sharedjox_kit.tasks import WAKE_TOPIC
from sharedjox_marketplace.accounts.model import User
from sharedjox_marketplace.jobs.model import Job
from sharedjox_outbox.writer import OutboxEvent, append
from sharedjox_worker.access import AccessControl
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from tests.support.polling import eventually, scaled

from .conftest import StartWorker

APP = "1001"
JOB, CLIENT, FREELANCER, ONLOOKER, OPERATOR = 7, 11, 12, 13, 14
NOW = dt.datetime(2026, 2, 21, 10, tzinfo=dt.UTC)
PRIVATE, PRESENCE = private_job(JOB), presence_job(JOB)


class Heard(list[Command]):
    """Commands heard so far."""

    def __init__(self, subscription: PubSub) -> None:
        super().__init__()
        self._subscription = subscription

    async def hear(self) -> bool:
        """Take in what has come."""
        while (message := await self._subscription.get_message(timeout=0.05)) is not None:
            if message["type"] == "message":
                self.append(decode_command(decode_publication(message["data"]).frame))
        return True


@pytest.fixture
async def commands(redis: Redis) -> AsyncIterator[Heard]:
    """What a gateway would be told."""
    async with redis.pubsub() as subscription:
        await subscription.subscribe(live_topic(APP, CONTROL_CHANNEL))
        await subscription.get_message(timeout=5)
        yield Heard(subscription)


async def grant(redis: Redis, channel: str, socket_id: str, user_id: int, *, age_seconds: float = 60) -> None:
    """What the api writes before it signs."""
    member = f"{socket_id}|{user_id}|session-{user_id}"
    await redis.zadd(grants_key(APP, channel), {member: int(time.time() - age_seconds)})


async def people_and_a_job(engine: AsyncEngine, *, status: str, claimed_by: int | None) -> None:
    """Four users and one job, written past the actions: only what the rules look at matters here."""
    roles = {CLIENT: "client", FREELANCER: "freelancer", ONLOOKER: "freelancer", OPERATOR: "operator"}
    async with AsyncSession(engine) as session:
        for user_id, role in roles.items():
            await session.execute(
                insert(User).values(
                    id=user_id, name="n", email=f"{user_id}@example.test", password_hash="h", role=role, created_at=NOW
                )
            )
        await session.execute(
            insert(Job).values(
                id=JOB,
                client_id=CLIENT,
                claimed_by=claimed_by,
                claimed_at=NOW if claimed_by else None,
                agreed_cents=5000 if claimed_by else None,
                title="t",
                budget_min_cents=5000,
                budget_max_cents=15000,
                status=status,
                required_skills=[],
                estimated_duration=60,
                created_at=NOW,
                updated_at=NOW,
            )
        )
        await session.commit()


async def commit(engine: AsyncEngine, redis: Redis, payload: Payload, channel: str) -> None:
    async with engine.begin() as connection:
        await append(connection, [OutboxEvent(payload, (channel,))])
    await redis.publish(WAKE_TOPIC, b"1")


async def told(commands: Heard, *expected: Command) -> None:
    """Within a second of the commit, exactly these commands (in any order of sockets)."""

    async def holds() -> bool:
        await commands.hear()
        return len(commands) >= len(expected)

    await eventually(holds, 1, what=f"{len(expected)} commands")
    assert sorted(map(repr, commands)) == sorted(map(repr, expected))


async def test_a_released_job_takes_the_private_channel_from_its_freelancer(
    engine: AsyncEngine, redis: Redis, commands: Heard, start_worker: StartWorker
) -> None:
    start_worker()
    await people_and_a_job(engine, status="active", claimed_by=None)
    await grant(redis, PRIVATE, "1.1", CLIENT)
    await grant(redis, PRIVATE, "1.2", FREELANCER)
    await grant(redis, PRIVATE, "2.2", FREELANCER)
    await commit(engine, redis, AccessChanged(channel=PRIVATE), PRIVATE)
    await told(commands, Unsubscribe("1.2", PRIVATE), Unsubscribe("2.2", PRIVATE))
    left = await redis.zrange(grants_key(APP, PRIVATE), 0, -1)
    assert [member.split(b"|")[0] for member in left] == [b"1.1"]


async def test_a_claimed_job_takes_the_presence_channel_from_onlookers(
    engine: AsyncEngine, redis: Redis, commands: Heard, start_worker: StartWorker
) -> None:
    start_worker()
    await people_and_a_job(engine, status="claimed", claimed_by=FREELANCER)
    for number, user_id in enumerate((CLIENT, FREELANCER, ONLOOKER, OPERATOR), start=1):
        await grant(redis, PRESENCE, f"1.{number}", user_id)
    await commit(engine, redis, AccessChanged(channel=PRESENCE), PRESENCE)
    await told(commands, Unsubscribe("1.3", PRESENCE))


async def test_a_revoked_session_closes_its_sockets_only(
    engine: AsyncEngine, redis: Redis, commands: Heard, start_worker: StartWorker
) -> None:
    start_worker()
    for session_id, socket_ids in (("gone", ("1.1", "2.7")), ("stays", ("1.2",))):
        for socket_id in socket_ids:
            await redis.sadd(session_sockets_key(APP, session_id), socket_id)  # type: ignore[misc]
    await commit(engine, redis, SessionRevoked(session_id="gone"), private_user(CLIENT))
    await told(commands, Close("1.1", 4009, "session revoked"), Close("2.7", 4009, "session revoked"))


async def test_users_that_do_not_exist_any_more_and_strange_grants(
    engine: AsyncEngine, redis: Redis, commands: Heard, start_worker: StartWorker
) -> None:
    start_worker()
    await people_and_a_job(engine, status="active", claimed_by=None)
    await grant(redis, PRIVATE, "1.9", 999)
    await redis.zadd(grants_key(APP, PRIVATE), {"nonsense": 1, "1.3|x|s": 1, "||": 1})
    await commit(engine, redis, AccessChanged(channel=PRIVATE), PRIVATE)
    await told(commands, Unsubscribe("1.9", PRIVATE))


class TestRecheck:
    """The handler alone, with rights that the test decides."""

    def control(self, redis: Redis, *staying: int) -> AccessControl:
        async def who_may_stay(_channel: str, user_ids: set[int]) -> frozenset[int]:
            return frozenset(user_ids & set(staying))

        return AccessControl(redis, app_id=APP, who_may_stay=who_may_stay, registry=CollectorRegistry())

    async def recheck(self, control: AccessControl) -> None:
        await control.carry_out(AccessChanged(channel=PRIVATE))

    async def test_nobody_is_told_anything_while_all_may_stay(self, redis: Redis, commands: Heard) -> None:
        await grant(redis, PRIVATE, "1.1", CLIENT)
        await self.recheck(self.control(redis, CLIENT))
        await commands.hear()
        assert commands == []
        assert await redis.zcard(grants_key(APP, PRIVATE)) == 1

    async def test_a_repeat_finds_the_state_as_it_is_now(self, redis: Redis, commands: Heard) -> None:
        """The right came back before the row was carried out a second time: the socket keeps the channel."""
        await grant(redis, PRIVATE, "1.1", FREELANCER, age_seconds=0)
        await self.recheck(self.control(redis))
        await self.recheck(self.control(redis, FREELANCER))
        await told(commands, Unsubscribe("1.1", PRIVATE))

    async def test_a_fresh_grant_is_kept_for_the_next_change(self, redis: Redis, commands: Heard) -> None:
        """It may have been renewed in the very second of the check; forgetting it would lose a revocation."""
        await grant(redis, PRIVATE, "1.1", FREELANCER, age_seconds=0)
        await self.recheck(self.control(redis))
        await told(commands, Unsubscribe("1.1", PRIVATE))
        assert await redis.zcard(grants_key(APP, PRIVATE)) == 1

    async def test_many_onlookers_at_once(self, redis: Redis, commands: Heard) -> None:
        now = int(time.time()) - 60
        for start in range(0, 5000, 1000):
            members = {f"1.{n}|{n}|s": float(now) for n in range(start + 1, start + 1001)}
            await redis.zadd(grants_key(APP, PRIVATE), members)
        started = time.monotonic()
        await self.recheck(self.control(redis, *range(1, 101)))
        assert time.monotonic() - started < scaled(1)

        async def all_told() -> bool:
            await commands.hear()
            return len(commands) == 4900

        await eventually(all_told)
        assert await redis.zcard(grants_key(APP, PRIVATE)) == 100
