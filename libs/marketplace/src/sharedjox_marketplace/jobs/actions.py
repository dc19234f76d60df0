"""What people do to jobs; each action is one transaction with its events."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, cast

from sharedjox_contracts import events
from sharedjox_contracts.channels import JOBS_DISCOVERY, presence_job, private_job, private_user
from sharedjox_contracts.codec import money_from_cents
from sharedjox_contracts.control import AccessChanged

from sharedjox_marketplace.accounts.rules import Role, normalize_skills
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.errors import NotAllowedError, StaleVersionError
from sharedjox_marketplace.notifications.actions import notify
from sharedjox_marketplace.unit_of_work import UnitOfWork
from sharedjox_marketplace.wallet.holds import free_hold, hold_for_job
from sharedjox_marketplace.wallet.repository import add_transaction
from sharedjox_marketplace.wallet.rules import TransactionType, split_fee

from .errors import BudgetRangeError
from .records import JobRecord, LockedJob
from .repository import add_job, lock_job, save_job
from .rules import FREES_THE_HOLD, NEUTRAL_MATCH_SCORE, JobStatus, match_score


@dataclass(frozen=True, slots=True)
class Terms:
    """The platform's conditions: its fee, and when an unconfirmed earning is released to the freelancer."""

    fee_percent: Decimal = field(default_factory=lambda: Decimal(10))
    release_after: dt.timedelta = dt.timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class PostJobAction:
    """A client posts a job; everybody on `jobs.discovery` hears of it."""

    actor: Actor
    title: str
    description: str
    budget_min_cents: int
    budget_max_cents: int
    required_skills: list[str]
    estimated_duration: int

    async def __call__(self, unit: UnitOfWork) -> JobRecord:
        """Raises: NotAllowedError for others than clients, BudgetRangeError."""
        if self.actor.role is not Role.CLIENT:
            raise NotAllowedError("only clients post jobs")
        if self.budget_min_cents > self.budget_max_cents:
            raise BudgetRangeError("budgetMin must not be above budgetMax")
        job = await add_job(
            unit.connection,
            client_id=self.actor.id,
            title=self.title,
            description=self.description,
            budget_min_cents=self.budget_min_cents,
            budget_max_cents=self.budget_max_cents,
            required_skills=normalize_skills(self.required_skills),
            estimated_duration=self.estimated_duration,
            now=unit.now,
        )
        unit.record(_posted(job, unit.now), JOBS_DISCOVERY)
        return job


@dataclass(frozen=True, slots=True)
class ClaimJobAction:
    """A freelancer takes an active job; the agreed amount is held on the client's wallet.

    `job.claimed` tells who took it; `job.updated` tells, as for every other step, where it stands now (ADR 30).
    """

    actor: Actor
    job_id: int
    offer_cents: int | None = None
    expected_version: int | None = None

    async def __call__(self, unit: UnitOfWork) -> LockedJob:
        """Raises: JobNotFoundError, JobAlreadyClaimedError, JobNotActiveError, InsufficientFundsError, and others."""
        if self.actor.role is not Role.FREELANCER:
            raise NotAllowedError("only freelancers claim jobs")
        job = await lock_job(unit.connection, self.job_id)
        require_version(job, self.expected_version)
        agreed_cents = job.claim(by=self.actor.id, at=unit.now, offer_cents=self.offer_cents)
        await save_job(unit.connection, job)
        await hold_for_job(unit, client_id=job.client_id, job_id=job.id, amount_cents=agreed_cents)
        unit.record(
            events.JobClaimed(
                job_id=job.id,
                claimed_by=self.actor.id,
                claimed_at=unit.now,
                match_score=match_score(self.actor.skills, job.required_skills),
                timestamp=unit.now,
            ),
            private_job(job.id),
            private_user(job.client_id),
        )
        unit.record(_updated(job, unit.now), private_job(job.id))
        await notify(
            unit,
            job.client_id,
            kind="job.claimed",
            title="Your job was claimed",
            body=f"{self.actor.name} claimed “{job.title}”.",
            job_id=job.id,
        )
        # Onlookers may see who is viewing a job only while it is active.
        _record_access_changed(unit, presence_job(job.id))
        return job


@dataclass(frozen=True, slots=True)
class UpdateJobStatusAction:
    """One of the parties takes a job a step further, back, or out of the way."""

    actor: Actor
    job_id: int
    status: JobStatus
    deliverables: list[str] | None = None
    expected_version: int | None = None
    terms: Terms = field(default_factory=Terms)

    async def __call__(self, unit: UnitOfWork) -> LockedJob:
        """Raises: JobNotFoundError, NotAllowedError, InvalidTransitionError, StaleVersionError."""
        job = await lock_job(unit.connection, self.job_id)
        require_version(job, self.expected_version)
        before, freelancer_id = job.state, job.claimed_by
        job.move(to=self.status, by=self.actor.id, at=unit.now, deliverables=self.deliverables)
        await save_job(unit.connection, job)
        await self._move_money(unit, job, freelancer_id)
        unit.record(_updated(job, unit.now), private_job(job.id))
        other = job.client_id if self.actor.id == freelancer_id else freelancer_id
        if other is not None:
            title, body = _STATUS_NEWS[before, self.status]
            await notify(
                unit,
                other,
                kind=f"job.{job.status}",
                title=title,
                body=body.format(name=self.actor.name, title=job.title),
                job_id=job.id,
            )
        # After the event: the one who loses the channel may still learn why.
        if self.status is JobStatus.ACTIVE:
            _record_access_changed(unit, private_job(job.id))
        elif before is JobStatus.ACTIVE:
            _record_access_changed(unit, presence_job(job.id))
        return job

    async def _move_money(self, unit: UnitOfWork, job: LockedJob, freelancer_id: int | None) -> None:
        if freelancer_id is None:
            return
        if self.status in FREES_THE_HOLD:
            await free_hold(unit, client_id=job.client_id, job_id=job.id)
        elif self.status is JobStatus.COMPLETED:
            await self._add_pending_payment(unit, job, freelancer_id)

    async def _add_pending_payment(self, unit: UnitOfWork, job: LockedJob, freelancer_id: int) -> None:
        """The freelancer's earning and, as its other side in the client's list, the payment. Both wait for one word."""
        agreed_cents = job.agreed_cents or 0
        split = split_fee(agreed_cents, self.terms.fee_percent)
        await add_transaction(
            unit,
            user_id=freelancer_id,
            kind=TransactionType.JOB_EARNING,
            amount_cents=split.earning_cents,
            job_id=job.id,
            pending=True,
            release_at=unit.now + self.terms.release_after,
        )
        await add_transaction(
            unit,
            user_id=job.client_id,
            kind=TransactionType.JOB_PAYMENT,
            amount_cents=agreed_cents,
            job_id=job.id,
            pending=True,
        )


def require_version(job: LockedJob, expected: int | None) -> None:
    """Raises: StaleVersionError when the caller looked at an older version of the job."""
    if expected is not None and job.version != expected:
        raise StaleVersionError("the job has changed since; fetch it again", currentVersion=job.version)


_STATUS_NEWS: Final = {
    (JobStatus.CLAIMED, JobStatus.IN_PROGRESS): ("Work has started", "{name} started on “{title}”."),
    (JobStatus.CLAIMED, JobStatus.ACTIVE): ("Your job is open again", "{name} released “{title}”."),
    (JobStatus.IN_PROGRESS, JobStatus.SUBMITTED): ("Work was submitted", "{name} submitted “{title}”."),
    (JobStatus.SUBMITTED, JobStatus.IN_PROGRESS): ("Changes asked for", "{name} asks for changes to “{title}”."),
    (JobStatus.SUBMITTED, JobStatus.COMPLETED): ("Job completed", "{name} accepted your work on “{title}”."),
    (JobStatus.CLAIMED, JobStatus.CANCELLED): ("Job cancelled", "{name} cancelled “{title}”."),
    (JobStatus.IN_PROGRESS, JobStatus.CANCELLED): ("Job cancelled", "{name} cancelled “{title}”."),
}


def _posted(job: JobRecord, now: dt.datetime) -> events.JobPosted:
    return events.JobPosted(
        job=events.PostedJob(
            id=job.id,
            client_id=job.client_id,
            title=job.title,
            budget_min=money_from_cents(job.budget_min_cents),
            budget_max=money_from_cents(job.budget_max_cents),
            status=cast("events.JobStatus", job.status),
            required_skills=list(job.required_skills),
            estimated_duration=job.estimated_duration,
            created_at=job.created_at,
        ),
        match_score=NEUTRAL_MATCH_SCORE,
        timestamp=now,
    )


def _updated(job: LockedJob, now: dt.datetime) -> events.JobUpdated:
    return events.JobUpdated(
        job_id=job.id,
        status=cast("events.JobStatus", job.status),
        deliverables=list(job.deliverables),
        updated_at=now,
        timestamp=now,
    )


def _record_access_changed(unit: UnitOfWork, channel: str) -> None:
    unit.record(AccessChanged(channel=channel), channel)
