"""Sending job alerts in batches. For the worker; any number of workers may do so at once.

A batch is one transaction: the next freelancers by id, their notifications with events and pushes, and how far the job
has come. A worker that dies leaves the job where its last batch ended; another one goes on there. That nobody is told
twice of a job is also a unique index.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import ARRAY, String, bindparam, delete, select, update

from sharedjox_marketplace.accounts.model import User
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.jobs.model import Job
from sharedjox_marketplace.jobs.rules import JobStatus
from sharedjox_marketplace.notifications.actions import notify_all
from sharedjox_marketplace.notifications.model import JOB_ALERT
from sharedjox_marketplace.prepared import Prepared
from sharedjox_marketplace.unit_of_work import Transactor, UnitOfWork

from .model import JobAlert

BATCH: Final = 100
"""Freelancers told in one transaction. Each needs a lock of their own channel while it runs."""

# Whose turn came least often goes first: a job that half the freelancers fit does not hold up the next one.
_NEXT: Final = Prepared(
    select(JobAlert.job_id, JobAlert.after_user_id, Job.title, Job.status, Job.required_skills)
    .join(Job, Job.id == JobAlert.job_id)
    .order_by(JobAlert.batches, JobAlert.job_id)
    .limit(1)
    .with_for_update(of=JobAlert, skip_locked=True)
)
# Two indexes serve it, and the planner knows from the skills' frequencies which is short: rare skills through the
# inverted index, common ones along the ids of those who want alerts.
_MATCHING: Final = Prepared(
    select(User.id)
    .where(
        User.wants_job_alerts,
        User.suspended_at.is_(None),
        User.role == Role.FREELANCER.value,
        User.skills.contains(bindparam("required", type_=ARRAY(String))),
        User.id > bindparam("after_user_id"),
    )
    .order_by(User.id)
    .limit(bindparam("wanted"))
)
_ADVANCE: Final = Prepared(
    update(JobAlert)
    .where(JobAlert.job_id == bindparam("told_job_id"))
    .values(after_user_id=bindparam("told_up_to"), batches=JobAlert.batches + 1)
)
_FINISH: Final = Prepared(delete(JobAlert).where(JobAlert.job_id == bindparam("told_job_id")))


class SendJobAlerts:
    """`await send()` tells the next batch; `batch` is how many freelancers that are at most."""

    def __init__(self, transactor: Transactor, *, batch: int = BATCH) -> None:
        self._transactor = transactor
        self._batch = batch

    async def __call__(self) -> int | None:
        """Tell one batch of one job; returns how many were told, None when no job waits."""
        return await self._transactor.run(self._tell)

    async def _tell(self, unit: UnitOfWork) -> int | None:
        row = await _NEXT.first(unit.connection)
        if row is None:
            return None
        job_id, after_user_id, title, status, required = row
        await unit.plan_for_values()
        # Who is told late of a job that was claimed meanwhile is only disappointed.
        found = (
            await _MATCHING.all(unit.connection, required=required, after_user_id=after_user_id, wanted=self._batch)
            if status == JobStatus.ACTIVE.value
            else []
        )
        user_ids = [user_id for (user_id,) in found]
        told = await notify_all(
            unit,
            user_ids,
            kind=JOB_ALERT,
            title="A job that fits you",
            body=f"“{title}” was posted; you have every skill it asks for.",
            job_id=job_id,
        )
        if len(user_ids) < self._batch:
            await _FINISH.all(unit.connection, told_job_id=job_id)
        else:
            await _ADVANCE.all(unit.connection, told_job_id=job_id, told_up_to=user_ids[-1])
        return told
