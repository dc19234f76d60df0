"""People, jobs and browsers for the worker's tests, made by the marketplace's own actions."""

from __future__ import annotations

import itertools
from typing import Any

from sharedjox_marketplace.accounts.actions import RegisterAction, UpdateAccountAction
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.jobs.actions import PostJobAction
from sharedjox_marketplace.notifications.actions import SubscribePushAction
from sharedjox_marketplace.unit_of_work import Transactor
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.push_service import Browser


class Market:
    """A database with people in it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.transactor = Transactor(engine)
        self._numbers = itertools.count(1)

    async def person(self, role: Role, *skills: str, alerts: bool = False, browser: Browser | None = None) -> Actor:
        """Somebody new."""
        name = f"{role.value}{next(self._numbers)}"
        user = await self.transactor.run(RegisterAction(f"{name}@example.test", name, "none", role, list(skills)))
        actor = Actor(user.id, role, name, frozenset(skills))
        if alerts:
            await self.transactor.run(UpdateAccountAction(actor, wants_job_alerts=True))
        if browser is not None:
            await self.transactor.run(SubscribePushAction(actor, browser.endpoint, browser.p256dh, browser.auth))
        return actor

    async def freelancers(self, count: int, *skills: str) -> None:
        """Many at once who want alerts, without wallets."""
        await self.sql(
            "INSERT INTO users (email, name, role, password_hash, skills, wants_job_alerts, created_at)"
            " SELECT 'many' || n || '@example.test', 'n', 'freelancer', 'none', :skills, true, now()"
            " FROM generate_series(1, :count) AS n",
            count=count,
            skills=list(skills),
        )

    async def job(self, client: Actor, *skills: str) -> int:
        """A new job."""
        return (await self.transactor.run(PostJobAction(client, "Charts", "", 5000, 15000, list(skills), 60))).id

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement and commit; returns rows if it has any."""
        async with self.engine.begin() as connection:
            result = await connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    async def alerted(self, job_id: int) -> list[int]:
        """Who was told of a job, in the order in which they were."""
        rows = await self.sql(
            "SELECT user_id FROM notifications WHERE type = 'job.alert' AND job_id = :job ORDER BY id", job=job_id
        )
        return [row.user_id for row in rows]
