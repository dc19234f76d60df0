"""Reading jobs: one for update, one to look at, pages of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

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


async def lock_job(session: AsyncSession, job_id: int) -> Job:
    """The job, locked until the transaction ends; two claimers queue here. Raises: JobNotFoundError."""
    found = await session.execute(select(Job).where(Job.id == job_id).with_for_update())
    return _required(found.scalar_one_or_none(), job_id)


async def find_job(session: AsyncSession, job_id: int) -> Job:
    """The job as committed. Raises: JobNotFoundError."""
    found = await session.execute(select(Job).where(Job.id == job_id))
    return _required(found.scalar_one_or_none(), job_id)


async def list_jobs(session: AsyncSession, wanted: JobFilter, *, before_id: int | None, limit: int) -> Sequence[Job]:
    """Jobs, newest first, with ids below `before_id`; one more than `limit` tells of a next page."""
    query = _narrowed(select(Job), wanted).order_by(Job.id.desc()).limit(limit + 1)
    if before_id is not None:
        query = query.where(Job.id < before_id)
    return (await session.execute(query)).scalars().all()


def _narrowed(query: Select[Job], wanted: JobFilter) -> Select[Job]:
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


def _required(job: Job | None, job_id: int) -> Job:
    if job is None:
        raise JobNotFoundError(f"there is no job {job_id}")
    return job
