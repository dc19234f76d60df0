"""The api in this process on a real Postgres and Redis, with people who have accounts, tokens and money."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from sharedjox_api.app import create_app
from sharedjox_api.runtime import Runtime
from sharedjox_api.settings import ApiSettings
from sharedjox_kit.environment import AppEnvironment
from sharedjox_marketplace.accounts.actions import RegisterAction, StartSessionAction
from sharedjox_marketplace.accounts.model import User
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.unit_of_work import UnitOfWork
from sharedjox_marketplace.wallet.actions import ConfirmTransactionAction, DepositAction
from sqlalchemy import text

JOB: dict[str, Any] = {
    "title": "Build React Dashboard",
    "description": "Charts",
    "budgetMin": 50,
    "budgetMax": 150,
    "requiredSkills": ["react", "typescript"],
    "estimatedDuration": 120,
}


def make_settings(postgres_url: str, redis_url: str, **others: Any) -> ApiSettings:
    """Settings for tests: cheap passwords, everything else as in development."""
    return ApiSettings(
        app_env=AppEnvironment.TEST,
        database_url=postgres_url,
        redis_url=redis_url,
        password_memory_kib=64,
        password_time_cost=1,
        grant_wait_seconds=0.2,
        **others,
    )


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account and a live session."""

    id: int
    actor: Actor
    headers: dict[str, str]


class Api:
    """An open api and what tests ask of it."""

    def __init__(self, app: FastAPI, http: httpx.AsyncClient) -> None:
        self.app = app
        self.http = http
        self.runtime: Runtime = app.state.runtime
        self._numbers: Iterator[int] = itertools.count(1)

    async def person(self, role: str, *, cents: int = 0, skills: list[str] | None = None) -> Person:
        """A new user with a session; `cents` are deposited and confirmed."""
        run, number = self.runtime.transactor.run, next(self._numbers)
        register = RegisterAction(
            f"{role}{number}@example.test", f"{role} {number}", "no hash", Role(role), skills or []
        )
        user = await run(register)
        grant = await run(StartSessionAction(user, dt.timedelta(days=1)))
        actor = Actor(user.id, Role(role), user.name, frozenset(user.skills), str(grant.session_id))
        if cents:
            announced = await run(DepositAction(actor, cents))
            await run(ConfirmTransactionAction(None, announced.id))
        token = self.runtime.tokens.issue(user.id, grant.session_id)
        return Person(user.id, actor, {"Authorization": f"Bearer {token}"})

    async def log_in_again(self, person: Person) -> str:
        """Another session of the same user; returns its id."""

        async def start(unit: UnitOfWork) -> str:
            user = await unit.session.get_one(User, person.id)
            return str((await StartSessionAction(user, dt.timedelta(days=1))(unit)).session_id)

        return await self.runtime.transactor.run(start)

    async def parties(self, *, cents: int = 100_000) -> tuple[Person, Person]:
        """A client with money and a freelancer with all skills of JOB."""
        client = await self.person("client", cents=cents)
        return client, await self.person("freelancer", skills=["react", "typescript"])

    async def job(self, client: Person, **fields: Any) -> int:
        """Post a job; returns its id."""
        answer = await self.http.post("/api/jobs", json=JOB | fields, headers=client.headers)
        assert answer.status_code == 201, answer.text
        job_id: int = answer.json()["id"]
        return job_id

    async def claimed_job(self, client: Person, freelancer: Person, **fields: Any) -> int:
        """Post a job and claim it."""
        job_id = await self.job(client, **fields)
        await self.ok(freelancer, f"/api/jobs/{job_id}/claim")
        return job_id

    async def completed_job(self, client: Person, freelancer: Person, **fields: Any) -> int:
        """A job whose earning waits for its confirmation."""
        job_id = await self.claimed_job(client, freelancer, **fields)
        await self.move(freelancer, job_id, "in_progress")
        await self.move(freelancer, job_id, "submitted", ["source code", "documentation"])
        await self.move(client, job_id, "completed")
        return job_id

    async def move(self, person: Person, job_id: int, status: str, deliverables: list[str] | None = None) -> Any:
        """Take a job a step further."""
        body = {"status": status} | ({"deliverables": deliverables} if deliverables is not None else {})
        return await self.ok(person, f"/api/jobs/{job_id}/status", body)

    async def ok(self, person: Person, path: str, body: Any = None) -> Any:
        """POST and expect success."""
        answer = await self.post(person, path, body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def post(self, person: Person | None, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """POST JSON as somebody, or as nobody."""
        sent = (person.headers if person else {}) | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, json=body, headers=sent)

    async def get(self, person: Person | None, path: str, **query: Any) -> httpx.Response:
        """GET as somebody, or as nobody."""
        return await self.http.get(path, params=query, headers=person.headers if person else {})

    async def wallet(self, person: Person) -> dict[str, float]:
        """Balances without the user id."""
        answer = (await self.get(person, "/api/wallet")).json()
        return {name: answer[name] for name in ("balance", "availableBalance", "heldBalance")}

    async def pending(self, person: Person, kind: str) -> int:
        """The id of somebody's only pending transaction of a type."""
        answer = await self.get(person, "/api/wallet/transactions", status="pending", type=kind)
        (only,) = answer.json()["items"]
        transaction_id: int = only["id"]
        return transaction_id

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement and commit; returns rows if it has any."""
        async with self.runtime.engine.begin() as connection:
            result = await connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    async def events(self, *names: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Outbox rows in order: (event, channel, payload); only those of `names` when given."""
        rows = await self.sql("SELECT event_name, channel, payload FROM outbox_messages ORDER BY id")
        return [(row.event_name, row.channel, row.payload) for row in rows if not names or row.event_name in names]


@contextlib.asynccontextmanager
async def open_api(settings: ApiSettings, *, raises: bool = False) -> AsyncIterator[Api]:
    """An api with its lifespan running, spoken to without sockets."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=raises, client=("127.0.0.1", 50000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api.test", timeout=30) as http,
    ):
        yield Api(app, http)
