"""Demo data, and the first operator. Deterministic: always the same people, jobs, money and times.

Everything goes through the actions that people use, so the ledger is as it would be; only the events are left out,
because nobody was there to hear them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError
from sharedjox_marketplace.accounts.actions import RegisterAction
from sharedjox_marketplace.accounts.errors import EmailTakenError
from sharedjox_marketplace.accounts.model import User
from sharedjox_marketplace.accounts.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, Passwords
from sharedjox_marketplace.accounts.repository import find_user_by_email
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.database import create_engine
from sharedjox_marketplace.jobs.actions import ClaimJobAction, PostJobAction, Terms, UpdateJobStatusAction
from sharedjox_marketplace.jobs.rules import JobStatus
from sharedjox_marketplace.unit_of_work import Transactor, UnitOfWork
from sharedjox_marketplace.wallet.actions import ConfirmTransactionAction, DepositAction
from sharedjox_marketplace.wallet.model import Transaction
from sharedjox_marketplace.wallet.rules import TransactionType
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from .auth.schemas import Email
from .settings import ApiSettings

DEMO_PASSWORD: Final = "password"  # noqa: S105 - printed in the README
_LOCK_NUMBER: Final = 0x5B0002
_DAY: Final = dt.datetime(2026, 2, 21, 9, 0, tzinfo=dt.UTC)


class OperatorExistsError(ValueError):
    """The address has an account already."""


@dataclass(frozen=True, slots=True)
class _Person:
    email: str
    name: str
    role: Role
    skills: tuple[str, ...] = ()


# In this order they get the ids 1, 2 and 3 of the architecture document's examples.
OPERATOR: Final = _Person("operator@sharedjox.test", "Otto Operator", Role.OPERATOR)
CLIENT: Final = _Person("client@sharedjox.test", "Clara Client", Role.CLIENT)
FREELANCER: Final = _Person(
    "freelancer@sharedjox.test", "Frida Freelancer", Role.FREELANCER, ("react", "typescript", "python", "figma")
)
_ANOTHER_FREELANCER: Final = _Person("another@sharedjox.test", "Anton Another", Role.FREELANCER, ("react", "vue"))


async def seed(settings: ApiSettings) -> str:
    """Add the demo data unless it is there; returns a sentence about it."""
    engine = _engine(settings, "sharedjox-seed")
    passwords = _passwords(settings)
    try:
        password_hash = await passwords.hash(DEMO_PASSWORD)
        return await Transactor(engine).run(_Seed(password_hash, settings.terms))
    finally:
        passwords.close()
        await engine.dispose()


async def create_operator(settings: ApiSettings, *, email: str, name: str, password: str) -> int:
    """Make an operator; returns the id. Raises: OperatorExistsError, ValueError for a bad address or password."""
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        msg = f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters"
        raise ValueError(msg)
    try:
        address: str = TypeAdapter(Email).validate_python(email)
    except ValidationError as error:
        msg = f"{email!r} is no e-mail address"
        raise ValueError(msg) from error
    engine = _engine(settings, "sharedjox-cli")
    passwords = _passwords(settings)
    try:
        password_hash = await passwords.hash(password)
        action = RegisterAction(address, name, password_hash, Role.OPERATOR, [])
        return (await Transactor(engine).run(action)).id
    except EmailTakenError as error:
        msg = f"{address} has an account already"
        raise OperatorExistsError(msg) from error
    finally:
        passwords.close()
        await engine.dispose()


def _engine(settings: ApiSettings, name: str) -> AsyncEngine:
    return create_engine(
        settings.database_url,
        pool_size=1,
        max_overflow=0,
        application_name=name,
        prepared_statements=settings.database_prepared_statements,
    )


def _passwords(settings: ApiSettings) -> Passwords:
    return Passwords(time_cost=settings.password_time_cost, memory_kib=settings.password_memory_kib, threads=1)


@dataclass(frozen=True, slots=True)
class _Seed:
    """All of it in one transaction."""

    password_hash: str
    terms: Terms

    async def __call__(self, unit: UnitOfWork) -> str:
        await unit.session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
        if await find_user_by_email(unit.session, CLIENT.email) is not None:
            return "the demo data is there already"
        if not (await unit.session.execute(select(func.count()).select_from(User))).scalar_one():
            # A start that failed half-way has used up numbers; with no rows they can start again.
            for table in ("users", "jobs", "transactions", "notifications"):
                await unit.session.execute(text(f"ALTER TABLE {table} ALTER COLUMN id RESTART WITH 1"))
        operator, client, freelancer, _ = [
            await self._person(unit, person) for person in (OPERATOR, CLIENT, FREELANCER, _ANOTHER_FREELANCER)
        ]
        await self._deposit(unit, client, operator, 1_040_00)
        await self._deposit(unit, freelancer, operator, 64_00)
        await self._jobs(unit, client, freelancer)
        unit.events.clear()
        return f"seeded; log in as {CLIENT.email}, {FREELANCER.email} or {OPERATOR.email} with {DEMO_PASSWORD!r}"

    async def _person(self, unit: UnitOfWork, person: _Person) -> Actor:
        self._at(unit, 0)
        user = await RegisterAction(person.email, person.name, self.password_hash, person.role, list(person.skills))(
            unit
        )
        return Actor(user.id, person.role, person.name, frozenset(person.skills))

    async def _deposit(self, unit: UnitOfWork, owner: Actor, operator: Actor, cents: int) -> None:
        self._at(unit, 10)
        announced = await DepositAction(owner, cents)(unit)
        await ConfirmTransactionAction(operator, announced.id)(unit)

    async def _jobs(self, unit: UnitOfWork, client: Actor, freelancer: Actor) -> None:
        """Job 1 is active, 2 claimed, 3 completed and paid: that leaves 1000.00 and 100.00 in the two wallets."""
        self._at(unit, 60)
        await PostJobAction(
            client,
            "Build React Dashboard",
            "A dashboard with live charts of our sales. Data comes from a REST API.",
            50_00,
            150_00,
            ["react", "typescript"],
            120,
        )(unit)
        claimed = await PostJobAction(
            client, "Translate product pages", "Twelve pages, English to German.", 80_00, 120_00, ["german"], 300
        )(unit)
        completed = await PostJobAction(
            client, "Fix login form", "The form loses its focus on Safari.", 40_00, 60_00, ["react"], 60
        )(unit)
        await unit.session.flush()
        self._at(unit, 65)
        for job in (completed, claimed):
            await ClaimJobAction(freelancer, job.id)(unit)
            await unit.session.flush()
        for minute, actor, status in (
            (70, freelancer, JobStatus.IN_PROGRESS),
            (80, freelancer, JobStatus.SUBMITTED),
            (85, client, JobStatus.COMPLETED),
        ):
            self._at(unit, minute)
            work = ["source code", "documentation"] if status is JobStatus.SUBMITTED else None
            await UpdateJobStatusAction(actor, completed.id, status, work, terms=self.terms)(unit)
            await unit.session.flush()
        self._at(unit, 90)
        earning = await unit.session.execute(
            select(Transaction.id).where(
                Transaction.job_id == completed.id, Transaction.type == TransactionType.JOB_EARNING.value
            )
        )
        await ConfirmTransactionAction(client, earning.scalar_one())(unit)

    def _at(self, unit: UnitOfWork, minute: int) -> None:
        unit.now = _DAY + dt.timedelta(minutes=minute)
