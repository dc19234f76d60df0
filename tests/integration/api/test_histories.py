"""Random histories of all actions, alone and at once, on a real Postgres: the books are right at every step.

The invariants are asked of the database, not of a model: what is committed must be consistent in itself, and the last
event that tells of a thing must tell what the thing is.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sharedjox_marketplace.accounts.actions import RegisterAction
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.database import create_engine
from sharedjox_marketplace.errors import DomainError
from sharedjox_marketplace.jobs.actions import ClaimJobAction, PostJobAction, UpdateJobStatusAction
from sharedjox_marketplace.jobs.rules import TRANSITIONS, JobStatus, Party
from sharedjox_marketplace.unit_of_work import Transactor
from sharedjox_marketplace.wallet.actions import (
    ConfirmTransactionAction,
    DepositAction,
    RejectTransactionAction,
    ReleaseDueEarnings,
    WithdrawAction,
)
from sharedjox_marketplace.wallet.repository import find_wallet
from sharedjox_marketplace.wallet.statement import wallet_statement
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

EXAMPLES, STEPS = 12, 30
SKILLS = ["react", "python", "figma"]
AMOUNTS = st.sampled_from([1, 99, 1_000, 5_000, 12_345, 100_000])

INVARIANTS = {
    "the ledger adds up to zero": "SELECT sum(amount_cents) FROM ledger_entries HAVING sum(amount_cents) <> 0",
    "balances are their entries": (
        "SELECT a.id FROM ledger_accounts a LEFT JOIN ledger_entries e ON e.account_id = a.id"
        " GROUP BY a.id HAVING a.balance_cents <> coalesce(sum(e.amount_cents), 0)"
    ),
    "nobody is overdrawn": "SELECT id FROM ledger_accounts WHERE kind <> 'external' AND balance_cents < 0",
    "what is held is held for something": (
        "SELECT a.user_id FROM ledger_accounts a LEFT JOIN transactions t ON t.user_id = a.user_id"
        "  AND ((t.type = 'hold' AND t.settled_at IS NULL) OR (t.type = 'withdrawal' AND t.status = 'pending'))"
        " WHERE a.kind = 'held' GROUP BY a.id HAVING a.balance_cents <> coalesce(sum(t.amount_cents), 0)"
    ),
    "a job under way is held for, another is not": (
        "SELECT j.id FROM jobs j"
        " LEFT JOIN transactions h ON h.job_id = j.id AND h.type = 'hold' AND h.settled_at IS NULL"
        " LEFT JOIN transactions e ON e.job_id = j.id AND e.type = 'job_earning' AND e.status = 'pending'"
        " WHERE (h.id IS NOT NULL) <> (j.status IN ('claimed', 'in_progress', 'submitted') OR e.id IS NOT NULL)"
        " OR h.amount_cents <> j.agreed_cents"
    ),
    "a fee is what the client paid and the freelancer did not get": (
        "SELECT p.job_id FROM transactions p JOIN transactions e ON e.job_id = p.job_id AND e.type = 'job_earning'"
        " LEFT JOIN transactions f ON f.job_id = p.job_id AND f.type = 'platform_fee'"
        " WHERE p.type = 'job_payment' AND p.status = 'confirmed'"
        " AND (e.status <> 'confirmed' OR p.amount_cents <> e.amount_cents + coalesce(f.amount_cents, 0))"
    ),
    "the platform has its fees": (
        "SELECT 1 FROM ledger_accounts WHERE kind = 'platform' AND balance_cents <>"
        " (SELECT coalesce(sum(amount_cents), 0) FROM transactions WHERE type = 'platform_fee')"
    ),
    "the last wallet.updated is the wallet": (
        "SELECT w.user_id FROM (SELECT DISTINCT ON (channel) (payload->>'userId')::bigint AS user_id, payload"
        "  FROM outbox_messages WHERE event_name = 'wallet.updated' ORDER BY channel, id DESC) AS w"
        " JOIN ledger_accounts a ON a.user_id = w.user_id GROUP BY w.user_id, w.payload"
        " HAVING (w.payload->>'newBalance')::numeric * 100 <> sum(a.balance_cents)"
        " OR (w.payload->>'availableBalance')::numeric * 100 <> sum(a.balance_cents)"
        "  FILTER (WHERE a.kind = 'available')"
    ),
    "who has money was told": (
        "SELECT a.user_id FROM ledger_accounts a WHERE a.balance_cents > 0 AND a.user_id IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM outbox_messages o WHERE o.event_name = 'wallet.updated'"
        "  AND o.channel = 'private-user.' || a.user_id)"
    ),
    "the last event of a job is the job": (
        "SELECT j.id FROM jobs j JOIN (SELECT DISTINCT ON (channel) (payload->>'jobId')::bigint AS job_id, event_name,"
        "  payload FROM outbox_messages WHERE event_name IN ('job.claimed', 'job.updated')"
        "  AND channel LIKE 'private-job.%' ORDER BY channel, id DESC) AS o ON o.job_id = j.id"
        " WHERE o.event_name = 'job.claimed' OR j.status <> o.payload->>'status'"
    ),
}


class _Clock:
    """Time that the history moves."""

    def __init__(self) -> None:
        self._now = dt.datetime(2026, 2, 21, tzinfo=dt.UTC)

    def now(self) -> dt.datetime:
        return self._now

    def advance(self, hours: int) -> None:
        self._now += dt.timedelta(hours=hours)


class Histories(RuleBasedStateMachine):
    """People do things in any order. Refusals are fine; inconsistency is not."""

    runner: asyncio.Runner
    engine: AsyncEngine
    names = 0

    def __init__(self) -> None:
        super().__init__()
        self.clock = _Clock()
        self.transactor = Transactor(self.engine, clock=self.clock)

    def _act(self, *works: Any) -> None:
        """Run actions, all at once; a refusal by the rules is an answer like any other."""

        async def one(work: Any) -> None:
            try:
                await self.transactor.run(work)
            except DomainError:
                return

        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                for work in works:
                    group.create_task(one(work))

        self.runner.run(together())

    def _rows(self, query: str) -> list[Any]:
        async def find() -> list[Any]:
            async with self.engine.connect() as connection:
                return list((await connection.execute(text(query))).all())

        return self.runner.run(find())

    def _ids(self, table: str, where: str = "true") -> list[int]:
        rows = self._rows(f"SELECT id FROM {table} WHERE {where} ORDER BY id DESC LIMIT 12")  # noqa: S608 - ours
        return [row.id for row in rows]

    @initialize()
    def people(self) -> None:
        async def register(role: Role) -> Actor:
            Histories.names += 1
            name = f"{role.value}{Histories.names}"
            user = await self.transactor.run(RegisterAction(f"{name}@h.test", name, "none", role, SKILLS))
            return Actor(user.id, role, name, frozenset(SKILLS))

        def some(role: Role, count: int) -> list[Actor]:
            return [self.runner.run(register(role)) for _ in range(count)]

        self.clients, self.freelancers = some(Role.CLIENT, 2), some(Role.FREELANCER, 3)
        (self.operator,) = some(Role.OPERATOR, 1)
        self.everybody = [*self.clients, *self.freelancers, self.operator]
        self.by_id = {person.id: person for person in self.everybody}
        for client in self.clients:
            self._act(DepositAction(client, 500_000))
            self._act(ConfirmTransactionAction(self.operator, self._ids("transactions")[0]))

    def _work(self, draw: Any) -> Any:
        """One random action of one random person."""
        person = draw(st.sampled_from(self.everybody))
        jobs, transactions = self._ids("jobs") or [0], self._ids("transactions") or [0]
        job, transaction = st.sampled_from(jobs), st.sampled_from(transactions)
        return draw(
            st.one_of(
                st.builds(DepositAction, st.just(person), AMOUNTS),
                st.builds(WithdrawAction, st.just(person), AMOUNTS),
                st.builds(ClaimJobAction, st.sampled_from(self.freelancers), job, st.none() | AMOUNTS),
                st.builds(UpdateJobStatusAction, st.just(person), job, st.sampled_from(JobStatus)),
                st.builds(ConfirmTransactionAction, st.sampled_from([person, self.operator]), transaction),
                st.builds(RejectTransactionAction, st.sampled_from([person, self.operator]), transaction),
            )
        )

    @rule(data=st.data(), low=AMOUNTS, high=AMOUNTS)
    def post(self, data: Any, low: int, high: int) -> None:
        client = data.draw(st.sampled_from(self.clients))
        self._act(PostJobAction(client, "A job", "", min(low, high), max(low, high), SKILLS[:2], 60))

    @rule(data=st.data(), amount=AMOUNTS)
    def pay_in(self, data: Any, amount: int) -> None:
        self._act(DepositAction(data.draw(st.sampled_from(self.clients)), amount))
        self._act(ConfirmTransactionAction(self.operator, self._ids("transactions")[0]))

    @rule(data=st.data())
    def act(self, data: Any) -> None:
        self._act(self._work(data.draw))

    @rule(data=st.data())
    def take_the_next_step(self, data: Any) -> None:
        """Somebody does what the rules allow next: without this, random steps seldom get a job to its end."""
        people = ", ".join(str(person.id) for person in self.everybody)
        jobs = self._rows(
            f"SELECT id, status, client_id, claimed_by FROM jobs WHERE client_id IN ({people})"  # noqa: S608 - numbers
            " AND status NOT IN ('completed', 'cancelled') ORDER BY id DESC LIMIT 6"
        )
        if not jobs:
            return
        job = data.draw(st.sampled_from(jobs))
        if job.status == "active":
            self._act(ClaimJobAction(data.draw(st.sampled_from(self.freelancers)), job.id))
            return
        steps = [(to, party) for (before, to), party in TRANSITIONS.items() if before.value == job.status]
        to, party = data.draw(st.sampled_from(steps))
        actor = self.by_id[job.client_id if party is Party.CLIENT else job.claimed_by]
        self._act(UpdateJobStatusAction(actor, job.id, to))

    @rule(data=st.data(), confirm=st.booleans())
    def decide_what_is_pending(self, data: Any, confirm: bool) -> None:
        pending = self._ids("transactions", "status = 'pending'")
        if pending:
            decide = ConfirmTransactionAction if confirm else RejectTransactionAction
            self._act(*[decide(self.operator, data.draw(st.sampled_from(pending)))] * 2)

    @rule(data=st.data(), count=st.integers(2, 6))
    def act_at_once(self, data: Any, count: int) -> None:
        self._act(*(self._work(data.draw) for _ in range(count)))

    @rule(data=st.data())
    def claim_at_once(self, data: Any) -> None:
        job = data.draw(st.sampled_from(self._ids("jobs") or [0]))
        self._act(*(ClaimJobAction(freelancer, job) for freelancer in self.freelancers))

    @rule(data=st.data())
    def work_to_the_end(self, data: Any) -> None:
        job = data.draw(st.sampled_from(self._ids("jobs") or [0]))
        freelancer = self.freelancers[0]
        self._act(ClaimJobAction(freelancer, job))
        for actor, status in ((freelancer, JobStatus.IN_PROGRESS), (freelancer, JobStatus.SUBMITTED)):
            self._act(UpdateJobStatusAction(actor, job, status))
        self._act(*(UpdateJobStatusAction(client, job, JobStatus.COMPLETED) for client in self.clients))

    @rule(hours=st.integers(1, 100))
    def time_passes(self, hours: int) -> None:
        self.clock.advance(hours)
        release = ReleaseDueEarnings(self.transactor)

        async def by_two_workers() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(release(self.clock.now()))

        self.runner.run(by_two_workers())

    @invariant()
    def the_books_are_right(self) -> None:
        async def check() -> None:
            async with self.engine.connect() as connection:
                for what, query in INVARIANTS.items():
                    wrong = (await connection.execute(text(query))).all()
                    assert not wrong, f"{what}: {wrong}"

        self.runner.run(check())

    def teardown(self) -> None:
        """Whatever happened: statements add up line by line, and end in the wallet. (The ledger is append-only.)"""

        async def check() -> None:
            async with self.engine.connect() as connection:
                for person in getattr(self, "everybody", ()):
                    lines = await wallet_statement(connection, person.id, before_id=None, limit=1000)
                    available = held = 0
                    for line in reversed(lines):
                        available += line.available_change_cents
                        held += line.held_change_cents
                        assert (line.available_cents, line.held_cents) == (available, held), line
                    wallet = await find_wallet(connection, person.id)
                    assert (wallet.available_cents, wallet.held_cents) == (available, held), person

        self.runner.run(check())


@pytest.fixture
def history_machine(postgres_url: str) -> Iterator[type[Histories]]:
    with asyncio.Runner() as runner:
        engine = create_engine(postgres_url, pool_size=10)
        yield type("HistoriesHere", (Histories,), {"runner": runner, "engine": engine})
        runner.run(engine.dispose())


def test_random_histories_keep_the_books(history_machine: type[Histories]) -> None:
    run_state_machine_as_test(
        history_machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
