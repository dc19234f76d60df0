"""Web Push against a push service that checks the sender and browsers that decrypt."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.notifications import deliveries
from sharedjox_marketplace.notifications.actions import SubscribePushAction, UnsubscribePushAction, notify
from sharedjox_marketplace.notifications.push_rules import SAMPLE_VAPID_PRIVATE_KEY
from sharedjox_marketplace.unit_of_work import UnitOfWork
from sharedjox_worker.push.delivery import LEASE, PushDeliveries
from sharedjox_worker.push.metrics import PushMetrics
from sharedjox_worker.push.vapid import Vapid
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.push_service import Browser, PushService, push_service

from .market import Market


class _Clock:
    """Time that tests move."""

    def __init__(self) -> None:
        self._ahead = dt.timedelta(0)

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self._ahead

    def advance(self, by: dt.timedelta) -> None:
        self._ahead += by


@dataclass(slots=True)
class World:
    """A user with a browser, their push service, and the worker's part."""

    market: Market
    service: PushService
    clock: _Clock
    registry: CollectorRegistry
    pushes: PushDeliveries
    user: Actor
    browser: Browser

    async def notify(self, text: str = "hello") -> None:
        """Tell the user something."""

        async def work(unit: UnitOfWork) -> None:
            await notify(unit, self.user.id, kind="test", title=text, body="…")

        await self.market.transactor.run(work)

    async def waiting(self) -> int:
        """How many pushes there still are."""
        return len(await self.market.sql("SELECT 1 FROM push_deliveries"))

    async def browsers(self) -> int:
        """How many subscriptions there are."""
        return len(await self.market.sql("SELECT 1 FROM push_subscriptions"))

    def counted(self, outcome: str) -> float:
        """The metric."""
        return self.registry.get_sample_value("sharedjox_worker_pushes_total", {"outcome": outcome}) or 0


def _pushes(engine: AsyncEngine, clock: _Clock, registry: CollectorRegistry, *, private: bool = True) -> PushDeliveries:
    vapid = Vapid(SAMPLE_VAPID_PRIVATE_KEY, "mailto:ops@example.test")
    return PushDeliveries(engine, vapid, PushMetrics(registry), clock=clock, allow_private=private)


@pytest.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[World]:
    market, clock, registry = Market(engine), _Clock(), CollectorRegistry()
    async with push_service() as service:
        browser = service.browser("one")
        user = await market.person(Role.CLIENT, browser=browser)
        pushes = _pushes(engine, clock, registry)
        yield World(market, service, clock, registry, pushes, user, browser)
        await pushes.aclose()


async def test_private_addresses_are_not_called_outside_development(world: World) -> None:
    """The endpoint's name may have become a private address since it was registered."""
    await world.notify()
    strict = _pushes(world.market.engine, world.clock, CollectorRegistry(), private=False)
    assert await strict.send_due() == 1
    await strict.aclose()
    assert (world.service.requests, await world.waiting()) == ([], 1)


async def test_who_has_no_browser_costs_nothing(world: World) -> None:
    await world.market.transactor.run(UnsubscribePushAction(world.user, endpoint=world.browser.endpoint))
    await world.notify()
    assert (await world.waiting(), await world.pushes.send_due()) == (0, 0)


async def test_every_browser_of_the_user_reads_the_notification_once(world: World) -> None:
    other = world.service.browser("two")
    await world.market.transactor.run(_subscribe(world.user, other))
    await world.notify("Überraschung “zwei”")
    assert await world.pushes.send_due() == 2
    assert await world.pushes.send_due() == 0
    ((stored,),) = await world.market.sql("SELECT id FROM notifications")
    for browser in (world.browser, other):
        assert world.service.messages(browser) == [
            {"id": stored, "type": "test", "title": "Überraschung “zwei”", "body": "…", "jobId": None}
        ]
    for request in world.service.requests:
        assert 86_000 < int(request.headers["ttl"]) <= 86_400
        assert request.headers["topic"] == f"n{stored}"
    assert (await world.waiting(), world.counted("delivered")) == (0, 2)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_that_has_ended_is_forgotten(world: World, status: int) -> None:
    await world.notify("one")
    await world.notify("two")
    world.service.receiver.will_answer(status, status)
    await world.pushes.send_due()
    assert (await world.browsers(), await world.waiting(), world.counted("dropped")) == (0, 0, 0)


async def test_a_browser_that_registered_anew_meanwhile_is_kept(world: World) -> None:
    await world.notify()
    again = Browser(world.browser.endpoint)
    world.service.receiver.will_answer(410)
    async with world.market.engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        (taken,) = await deliveries.take_due(autocommit, world.clock.now(), lease=dt.timedelta(seconds=1), limit=5)
        await world.market.transactor.run(_subscribe(world.user, again))
        await deliveries.forget_browser(autocommit, taken)
    assert await world.browsers() == 1


@pytest.mark.parametrize("answer", [500, 503, 429, None])
async def test_passing_failures_are_tried_again(world: World, answer: int | None) -> None:
    await world.notify()
    if answer is None:
        world.service.receiver.answers.append(b"garbage\r\n\r\n")
    else:
        world.service.receiver.will_answer(answer)
    await world.pushes.send_due()
    assert (await world.waiting(), world.counted("postponed")) == (1, 1)
    assert await world.pushes.send_due() == 0, "not before its time"
    world.clock.advance(dt.timedelta(seconds=40))
    assert await world.pushes.send_due() == 1
    assert (await world.waiting(), world.counted("delivered")) == (0, 1)


async def test_a_service_that_asks_for_patience_gets_it(world: World) -> None:
    await world.notify()
    world.service.receiver.will_answer(429, headers="Retry-After: 600\r\n")
    await world.pushes.send_due()
    world.clock.advance(dt.timedelta(seconds=590))
    assert await world.pushes.send_due() == 0
    world.clock.advance(dt.timedelta(seconds=20))
    assert await world.pushes.send_due() == 1


@pytest.mark.parametrize("status", [400, 401, 403, 413, 302])
async def test_what_would_be_refused_again_is_dropped(world: World, status: int) -> None:
    await world.notify()
    world.service.receiver.will_answer(status, headers="Location: http://127.0.0.1:1/\r\n")
    await world.pushes.send_due()
    assert (await world.waiting(), await world.browsers(), world.counted("dropped")) == (0, 1, 1)


async def test_old_news_is_not_pushed(world: World) -> None:
    await world.notify()
    world.clock.advance(dt.timedelta(hours=25))
    await world.pushes.send_due()
    assert (world.service.requests, await world.waiting()) == ([], 0)


async def test_a_push_whose_worker_died_is_sent_by_another(world: World) -> None:
    await world.notify()
    async with world.market.engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        (taken,) = await deliveries.take_due(autocommit, world.clock.now(), lease=LEASE, limit=5)
    assert await world.pushes.send_due() == 0, "it is the other one's while the lease lasts"
    world.clock.advance(LEASE)
    assert await world.pushes.send_due() == 1
    assert [message["id"] for message in world.service.messages(world.browser)] == [taken.notification_id]


def _subscribe(user: Actor, browser: Browser) -> SubscribePushAction:
    return SubscribePushAction(user, browser.endpoint, browser.p256dh, browser.auth)
