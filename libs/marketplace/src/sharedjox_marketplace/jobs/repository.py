"""Reading one job: for update, or to look at. Lists are in `discovery`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sharedjox_marketplace.accounts.repository import ActorReading
from sharedjox_marketplace.alerts.model import JobAlert
from sharedjox_marketplace.errors import StaleVersionError
from sharedjox_marketplace.orm import columns_of
from sharedjox_marketplace.prepared import Prepared

from .errors import JobNotFoundError
from .model import Job
from .records import JobRecord, LockedJob
from .rules import JobStatus

_RECORD: Final = select(*columns_of(JobRecord, Job))
JOB_BY_ID: Final = ActorReading(_RECORD.where(Job.id == bindparam("job_id")))
_CHANGING: Final = ("status", "claimed_by", "claimed_at", "agreed_cents", "deliverables", "updated_at")
_NEW: Final = (
    insert(Job)
    .values(
        {
            name: bindparam(name)
            for name in (
                "client_id",
                "title",
                "description",
                "budget_min_cents",
                "budget_max_cents",
                "status",
                "required_skills",
                "estimated_duration",
                "created_at",
                "updated_at",
            )
        }
    )
    .returning(*columns_of(JobRecord, Job))
    .cte("job")
)
# With the job goes the note that its freelancers have to be told.
_ADD: Final = Prepared(
    select(*(_NEW.c[name] for name in JobRecord.__struct_fields__)).add_cte(
        insert(JobAlert).from_select(["job_id"], select(_NEW.c.id)).cte("alert")
    )
)
# Not the whole FOR UPDATE: that would also wait for whoever only refers to the job, such as a batch of alerts.
_LOCKED: Final = Prepared(_RECORD.where(Job.id == bindparam("job_id")).with_for_update(key_share=True))
_SAVE: Final = Prepared(
    update(Job)
    .where(Job.id == bindparam("job_id"), Job.version == bindparam("seen_version"))
    .values({name: bindparam(name) for name in _CHANGING} | {"version": Job.version + 1})
    .returning(Job.version)
)


async def lock_job(connection: AsyncConnection, job_id: int) -> LockedJob:
    """The job, locked until the transaction ends; two claimers queue here. Raises: JobNotFoundError."""
    row = await _LOCKED.first(connection, job_id=job_id)
    if row is None:
        raise JobNotFoundError(f"there is no job {job_id}")
    return LockedJob(*row)


async def save_job(connection: AsyncConnection, job: LockedJob) -> None:
    """Write what `LockedJob`'s methods have changed; the version goes up. Raises: StaleVersionError."""
    changed = {name: getattr(job, name) for name in _CHANGING}
    version = await _SAVE.value(connection, job_id=job.id, seen_version=job.version, **changed)
    if version is None:
        raise StaleVersionError("the job has changed since it was read")
    job.version = version


def the_job(rows: Sequence[tuple[Any, ...]], job_id: int) -> JobRecord:
    """What `JOB_BY_ID` has found. Raises: JobNotFoundError."""
    if not rows:
        raise JobNotFoundError(f"there is no job {job_id}")
    return JobRecord(*rows[0])


async def add_job(
    connection: AsyncConnection,
    *,
    client_id: int,
    title: str,
    description: str,
    budget_min_cents: int,
    budget_max_cents: int,
    required_skills: list[str],
    estimated_duration: int,
    now: dt.datetime,
) -> JobRecord:
    """Insert an active job."""
    row = await _ADD.first(
        connection,
        client_id=client_id,
        title=title,
        description=description,
        budget_min_cents=budget_min_cents,
        budget_max_cents=budget_max_cents,
        status=JobStatus.ACTIVE.value,
        required_skills=required_skills,
        estimated_duration=estimated_duration,
        created_at=now,
        updated_at=now,
    )
    if row is None:
        msg = "INSERT … RETURNING gave no row"
        raise RuntimeError(msg)
    return JobRecord(*row)
