"""A job as reading returns it, and what may be done to one that is locked."""

from __future__ import annotations

import datetime as dt

import msgspec

from sharedjox_marketplace.errors import NotAllowedError

from .errors import InvalidTransitionError, JobAlreadyClaimedError, JobNotActiveError, OfferOutsideBudgetError
from .rules import TRANSITIONS, JobStatus, agreed_amount, party_of


class JobRecord(msgspec.Struct):
    """A job as committed. See `model.Job` for the columns."""

    id: int
    client_id: int
    claimed_by: int | None
    title: str
    description: str
    budget_min_cents: int
    budget_max_cents: int
    agreed_cents: int | None
    status: str
    required_skills: list[str]
    estimated_duration: int
    deliverables: list[str]
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime
    claimed_at: dt.datetime | None


class LockedJob(JobRecord):
    """A job whose row this transaction has locked. `repository.save_job` writes what its methods change."""

    @property
    def state(self) -> JobStatus:
        """The status as the rules know it."""
        return JobStatus(self.status)

    def claim(self, *, by: int, at: dt.datetime, offer_cents: int | None) -> int:
        """Take an active job; returns the agreed amount in cents.

        Raises: JobAlreadyClaimedError, JobNotActiveError, OfferOutsideBudgetError; the job is untouched then.
        """
        if self.state is JobStatus.CANCELLED:
            raise JobNotActiveError("the job was cancelled", jobStatus=self.status)
        if self.state is not JobStatus.ACTIVE:
            raise JobAlreadyClaimedError("another freelancer has claimed this job", jobStatus=self.status)
        agreed = agreed_amount(
            budget_min_cents=self.budget_min_cents, budget_max_cents=self.budget_max_cents, offer_cents=offer_cents
        )
        if agreed is None:
            raise OfferOutsideBudgetError("the offer must lie within the job's budget")
        self.status = JobStatus.CLAIMED.value
        self.claimed_by, self.claimed_at, self.agreed_cents, self.updated_at = by, at, agreed, at
        return agreed

    def move(self, *, to: JobStatus, by: int, at: dt.datetime, deliverables: list[str] | None) -> None:
        """Take one step of the state machine.

        Raises: NotAllowedError for somebody whose step it is not, InvalidTransitionError when there is no such step.
        """
        party = party_of(by, client_id=self.client_id, claimed_by=self.claimed_by)
        if party is None:
            raise NotAllowedError("only the job's client and its freelancer change its status")
        entitled = TRANSITIONS.get((self.state, to))
        if entitled is None:
            raise InvalidTransitionError(
                f"a job does not go from {self.status} to {to.value}", currentStatus=self.status, requested=to.value
            )
        if entitled is not party:
            raise NotAllowedError(f"only the {entitled.value} takes a job from {self.status} to {to.value}")
        self.status, self.updated_at = to.value, at
        if to is JobStatus.SUBMITTED and deliverables is not None:
            self.deliverables = deliverables
        if to is JobStatus.ACTIVE:
            self.claimed_by = self.claimed_at = self.agreed_cents = None
            self.deliverables = []
