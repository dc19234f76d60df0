"""Reading jobs: one for update, one to look at, pages of many."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from sharedjox_marketplace.orm import Record, columns_of

from .errors import JobNotFoundError
from .model import Job
from .rules import JobStatus


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list of jobs is narrowed to; amounts in cents. A budget matches when it overlaps the range asked for."""

    status: JobStatus | None = None
    skill: str | None = None
    min_budget_cents: int | None = None
    max_budget_cents: int | None = None
    text: str | None = None
    client_id: int | None = None
    claimed_by: int | None = None


class JobRecord(Record, frozen=True):
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


_RECORD: Final = select(*columns_of(JobRecord, Job))
_BY_ID: Final = _RECORD.where(Job.id == bindparam("job_id"))
_LOCKED: Final = select(Job).where(Job.id == bindparam("job_id")).with_for_update()


async def lock_job(session: AsyncSession, job_id: int) -> Job:
    """The job, locked until the transaction ends; two claimers queue here. Raises: JobNotFoundError."""
    job = (await session.execute(_LOCKED, {"job_id": job_id})).scalar_one_or_none()
    if job is None:
        raise JobNotFoundError(f"there is no job {job_id}")
    return job


async def find_job(connection: AsyncConnection, job_id: int) -> JobRecord:
    """The job as committed. Raises: JobNotFoundError."""
    row = (await connection.execute(_BY_ID, {"job_id": job_id})).one_or_none()
    if row is None:
        raise JobNotFoundError(f"there is no job {job_id}")
    return JobRecord(*row)


async def list_jobs(
    connection: AsyncConnection, wanted: JobFilter, *, before_id: int | None, limit: int
) -> list[JobRecord]:
    """Jobs, newest first, with ids below `before_id`; one more than `limit` tells of a next page."""
    query = _narrowed(_RECORD, wanted).order_by(Job.id.desc()).limit(limit + 1)
    if before_id is not None:
        query = query.where(Job.id < before_id)
    return [JobRecord(*row) for row in await connection.execute(query)]


def _narrowed(query: Select[Any], wanted: JobFilter) -> Select[Any]:
    conditions = []
    if wanted.status is not None:
        conditions.append(Job.status == wanted.status.value)
    if wanted.skill is not None:
        conditions.append(Job.required_skills.contains([wanted.skill]))
    if wanted.min_budget_cents is not None:
        conditions.append(Job.budget_max_cents >= wanted.min_budget_cents)
    if wanted.max_budget_cents is not None:
        conditions.append(Job.budget_min_cents <= wanted.max_budget_cents)
    if wanted.text is not None:
        conditions.append(Job.search.op("@@")(func.websearch_to_tsquery("simple", wanted.text)))
    if wanted.client_id is not None:
        conditions.append(Job.client_id == wanted.client_id)
    if wanted.claimed_by is not None:
        conditions.append(Job.claimed_by == wanted.claimed_by)
    return query.where(*conditions)
