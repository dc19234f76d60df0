"""The table of jobs. What may be done to a job is in `records`."""

from __future__ import annotations

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

from sharedjox_marketplace.orm import Base, Cents, Instant, Serial


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
        Index(
            "ix_jobs_skills_search",
            "required_skills",
            "search",
            postgresql_using="gin",
            postgresql_with={"gin_pending_list_limit": 256},
        ),
        Index(
            "ix_jobs_active_skills_search",
            "required_skills",
            "search",
            postgresql_using="gin",
            postgresql_where=text("status = 'active'"),
            postgresql_with={"gin_pending_list_limit": 256},
        ),
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
