"""Bodies and answers of jobs."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AliasChoices, Field, StringConstraints
from sharedjox_contracts.codec import money_from_cents
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.jobs.records import JobRecord
from sharedjox_marketplace.jobs.rules import MAX_DURATION_MINUTES, match_score, party_of

from sharedjox_api.http.answers import Answer, Id, Money
from sharedjox_api.http.json_body import Amount, Body, Line, StorableText

Status = Literal["active", "claimed", "in_progress", "submitted", "completed", "cancelled"]
Skill = Annotated[Line, StringConstraints(max_length=50)]
Deliverable = Annotated[Line, StringConstraints(max_length=500)]


class PostJobBody(Body):
    """A job to be posted. `estimatedDuration` is in minutes."""

    title: Annotated[Line, StringConstraints(max_length=200), Field(examples=["Build React Dashboard"])]
    description: Annotated[StorableText, StringConstraints(max_length=10_000)] = ""
    budget_min: Annotated[Amount, Field(examples=[50])]
    budget_max: Annotated[Amount, Field(examples=[150])]
    required_skills: Annotated[list[Skill], Field(max_length=50, examples=[["react", "typescript"]])]
    estimated_duration: Annotated[int, Field(ge=0, le=MAX_DURATION_MINUTES, examples=[120])]


class ClaimJobBody(Body):
    """What a claim may say: another amount than `budgetMin`, within the budget."""

    offer: Annotated[
        Amount | None, Field(validation_alias=AliasChoices("offer", "agreedAmount", "amount"), examples=[75])
    ] = None


class UpdateStatusBody(Body):
    """The status wanted; `deliverables` are read with `submitted` only."""

    status: Status
    deliverables: Annotated[
        list[Deliverable] | None, Field(max_length=50, examples=[["source code", "documentation"]])
    ] = None


class JobAnswer(Answer, frozen=True):
    """A job. `estimatedDuration` is in minutes; `matchScore` is there for freelancers; parties see `deliverables`."""

    id: Id
    client_id: Id
    claimed_by: Id | None
    title: str
    description: str
    budget_min: Money
    budget_max: Money
    agreed_amount: Money | None
    status: Status
    required_skills: list[str]
    estimated_duration: int
    deliverables: list[str]
    created_at: dt.datetime
    updated_at: dt.datetime
    claimed_at: dt.datetime | None
    match_score: Annotated[int, msgspec.Meta(ge=50, le=100)] | msgspec.UnsetType = msgspec.UNSET


def job_answer(job: JobRecord, viewer: Actor) -> JobAnswer:
    """Shape a job for one viewer."""
    status: Any = job.status
    party = party_of(viewer.id, client_id=job.client_id, claimed_by=job.claimed_by)
    sees_work = party is not None or viewer.role is Role.OPERATOR
    return JobAnswer(
        id=job.id,
        client_id=job.client_id,
        claimed_by=job.claimed_by,
        title=job.title,
        description=job.description,
        budget_min=money_from_cents(job.budget_min_cents),
        budget_max=money_from_cents(job.budget_max_cents),
        agreed_amount=money_from_cents(job.agreed_cents) if job.agreed_cents is not None else None,
        status=status,
        required_skills=list(job.required_skills),
        estimated_duration=job.estimated_duration,
        deliverables=list(job.deliverables) if sees_work else [],
        created_at=job.created_at,
        updated_at=job.updated_at,
        claimed_at=job.claimed_at,
        match_score=(
            match_score(viewer.skills, job.required_skills) if viewer.role is Role.FREELANCER else msgspec.UNSET
        ),
    )


def etag_of(job: JobRecord) -> str:
    """The job's version as an entity tag."""
    return f'"{job.version}"'


JOB_EXAMPLE: Final = {
    "id": 1,
    "clientId": 2,
    "claimedBy": None,
    "title": "Build React Dashboard",
    "description": "Charts of our sales, live.",
    "budgetMin": 50,
    "budgetMax": 150,
    "agreedAmount": None,
    "status": "active",
    "requiredSkills": ["react", "typescript"],
    "estimatedDuration": 120,
    "deliverables": [],
    "createdAt": "2026-02-21T10:00:00Z",
    "updatedAt": "2026-02-21T10:00:00Z",
    "claimedAt": None,
    "matchScore": 100,
}
