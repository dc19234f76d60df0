"""The job: its table and what may be done to it."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from sharedjox_marketplace.errors import NotAllowedError
from sharedjox_marketplace.orm import Base, Cents, Instant, Serial

from .errors import InvalidTransitionError, JobAlreadyClaimedError, JobNotActiveError, OfferOutsideBudgetError
from .rules import TRANSITIONS, JobStatus, agreed_amount, party_of


class Job(Base):
    """A freelance job. `version` counts its changes (optimistic locking); money is in cents, duration in minutes."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "status IN ('active', 'claimed', 'in_progress', 'submitted', 'completed', 'cancelled')", name="status"
        ),
        CheckConstraint("0 < budget_min_cents AND budget_min_cents <= budget_max_cents", name="budget"),
        CheckConstraint("agreed_cents BETWEEN budget_min_cents AND budget_max_cents", name="agreed"),
        CheckConstraint("(claimed_by IS NULL) = (claimed_at IS NULL)", name="claim_whole"),
        CheckConstraint("(claimed_by IS NULL) = (agreed_cents IS NULL)", name="claim_agreed"),
        CheckConstraint(
            "(status = 'active' AND claimed_by IS NULL) OR status = 'cancelled'"
            " OR (status NOT IN ('active', 'cancelled') AND claimed_by IS NOT NULL)",
            name="claim_status",
        ),
        CheckConstraint("claimed_by <> client_id", name="not_own"),
        CheckConstraint("estimated_duration >= 0", name="duration"),
        Index("ix_jobs_status_id", "status", "id"),
        Index("ix_jobs_status_budget_max_cents", "status", "budget_max_cents"),
        Index("ix_jobs_status_budget_min_cents", "status", "budget_min_cents"),
        Index("ix_jobs_client_id_id", "client_id", "id"),
        Index("ix_jobs_claimed_by_id", "claimed_by", "id", postgresql_where=text("claimed_by IS NOT NULL")),
        Index("ix_jobs_required_skills", "required_skills", postgresql_using="gin"),
        Index("ix_jobs_search", "search", postgresql_using="gin"),
    )

    id: Mapped[Serial]
    client_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    claimed_by: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, server_default=text("''"))
    budget_min_cents: Mapped[Cents]
    budget_max_cents: Mapped[Cents]
    agreed_cents: Mapped[Cents | None]
    status: Mapped[str] = mapped_column(String(16))
    required_skills: Mapped[list[str]] = mapped_column(ARRAY(String(50)))
    estimated_duration: Mapped[int] = mapped_column(Integer)
    deliverables: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    created_at: Mapped[Instant]
    updated_at: Mapped[Instant]
    claimed_at: Mapped[Instant | None]
    search: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed(func.to_tsvector(text("'simple'"), text("title || ' ' || description")), persisted=True),
        deferred=True,
        deferred_raiseload=True,
    )

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
