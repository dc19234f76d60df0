"""The rules of a job's life. Pure: no database, no clock, no framework."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Final

NEUTRAL_MATCH_SCORE: Final = 50
MAX_DURATION_MINUTES: Final = 525_600
"""A year; no small job takes longer."""


class JobStatus(Enum):
    """Where a job stands."""

    ACTIVE = "active"
    CLAIMED = "claimed"
    IN_PROGRESS = "in_progress"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Party(Enum):
    """The two sides of a job."""

    CLIENT = "client"
    FREELANCER = "freelancer"


TRANSITIONS: Final[dict[tuple[JobStatus, JobStatus], Party]] = {
    (JobStatus.CLAIMED, JobStatus.IN_PROGRESS): Party.FREELANCER,
    (JobStatus.CLAIMED, JobStatus.ACTIVE): Party.FREELANCER,
    (JobStatus.IN_PROGRESS, JobStatus.SUBMITTED): Party.FREELANCER,
    (JobStatus.SUBMITTED, JobStatus.IN_PROGRESS): Party.CLIENT,
    (JobStatus.SUBMITTED, JobStatus.COMPLETED): Party.CLIENT,
    (JobStatus.ACTIVE, JobStatus.CANCELLED): Party.CLIENT,
    (JobStatus.CLAIMED, JobStatus.CANCELLED): Party.CLIENT,
    (JobStatus.IN_PROGRESS, JobStatus.CANCELLED): Party.CLIENT,
}
"""Every step that `POST /jobs/{id}/status` may take, and who takes it. Claiming is a call of its own."""

FREES_THE_HOLD: Final = frozenset({JobStatus.ACTIVE, JobStatus.CANCELLED})
"""Arriving here, the money that was held for the job goes back to the client's available balance."""


def party_of(user_id: int, *, client_id: int, claimed_by: int | None) -> Party | None:
    """Which side of the job a user is on."""
    if user_id == client_id:
        return Party.CLIENT
    return Party.FREELANCER if user_id == claimed_by else None


def match_score(skills: Collection[str], required: Collection[str]) -> int:
    """50 + 50 x the share of the required skills that are there, rounded half up; a job that asks for none fits all."""
    wanted = set(required)
    if not wanted:
        return 100
    met = len(wanted & set(skills))
    return NEUTRAL_MATCH_SCORE + (100 * met + len(wanted)) // (2 * len(wanted))


def agreed_amount(*, budget_min_cents: int, budget_max_cents: int, offer_cents: int | None) -> int | None:
    """The minimum unless the claim offers another amount; None when the offer leaves the budget."""
    if offer_cents is None:
        return budget_min_cents
    return offer_cents if budget_min_cents <= offer_cents <= budget_max_cents else None
