"""Who may join which channel: the marketplace's `routes/channels.php`.

Each rule is a function under the pattern of the channels it decides on. It gets the rules' view of the database, the
user, and the number in the name. It answers False, True, or, on presence channels, what the others see of the user.
Public channels (`jobs.discovery` among them) never come here. A name that fits no pattern is refused.

The api asks before it signs; the worker asks again for everybody on a channel when a row `access.changed` says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sharedjox_contracts.channels import OPERATIONS, parse_marketplace_channel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from .accounts.model import User
from .accounts.rules import Role
from .jobs.model import Job
from .jobs.rules import JobStatus


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user who wants to join."""

    id: int
    role: Role
    name: str


@dataclass(frozen=True, slots=True)
class JobParties:
    """What the rules need to know of a job."""

    client_id: int
    claimed_by: int | None
    is_active: bool

    def includes(self, user: Viewer) -> bool:
        """Whether the user is the job's client or its freelancer."""
        return user.id in (self.client_id, self.claimed_by)


class Facts:
    """What the rules may look up, as committed now."""

    def __init__(self, session: AsyncSession | AsyncConnection) -> None:
        self._session = session
        self._jobs: dict[int, JobParties | None] = {}

    async def job(self, job_id: int) -> JobParties | None:
        """A job's parties, or None when there is no such job. Looked up once, however many users are judged by it."""
        if job_id not in self._jobs:
            found = select(Job.client_id, Job.claimed_by, Job.status).where(Job.id == job_id)
            row = (await self._session.execute(found)).one_or_none()
            is_active = row is not None and row.status == JobStatus.ACTIVE.value
            self._jobs[job_id] = JobParties(row.client_id, row.claimed_by, is_active) if row else None
        return self._jobs[job_id]


Decision = bool | Mapping[str, Any]
Rule = Callable[[Facts, Viewer, int], Awaitable[Decision]]


async def private_job(facts: Facts, user: Viewer, job_id: int) -> bool:
    """Only the job's client and the freelancer who claimed it."""
    job = await facts.job(job_id)
    return job is not None and job.includes(user)


async def private_user(_facts: Facts, user: Viewer, user_id: int) -> bool:
    """Only that user."""
    return user.id == user_id


async def presence_job(facts: Facts, user: Viewer, job_id: int) -> Decision:
    """Anybody while the job is active; afterwards its parties and operators. Members see each other's name."""
    job = await facts.job(job_id)
    if job is None:
        return False
    if job.is_active or job.includes(user) or user.role is Role.OPERATOR:
        return {"id": user.id, "name": user.name, "role": user.role.value}
    return False


async def private_ops(_facts: Facts, user: Viewer, _number: int) -> bool:
    """Operators."""
    return user.role is Role.OPERATOR


CHANNELS: Final[dict[str, Rule]] = {
    "private-job.{jobId}": private_job,
    "private-user.{userId}": private_user,
    "presence-job.{jobId}": presence_job,
    OPERATIONS: private_ops,
}


async def decide(session: AsyncSession | AsyncConnection, user: Viewer, channel: str) -> Decision:
    """Whether `user` may join `channel`; on a presence channel, what others see of them (or False)."""
    rule, number = _match(channel)
    return await rule(Facts(session), user, number) if rule is not None else False


async def who_may_stay(session: AsyncSession | AsyncConnection, channel: str, user_ids: set[int]) -> frozenset[int]:
    """Those of `user_ids` who may be on `channel` now. For checking everybody on a channel again."""
    rows = await session.execute(select(User.id, User.role, User.name).where(User.id.in_(sorted(user_ids))))
    viewers = [Viewer(row.id, Role(row.role), row.name) for row in rows]
    rule, number = _match(channel)
    if rule is None:
        return frozenset()
    facts = Facts(session)
    return frozenset([viewer.id for viewer in viewers if await rule(facts, viewer, number) is not False])


def _match(channel: str) -> tuple[Rule | None, int]:
    if channel in CHANNELS:
        return CHANNELS[channel], 0
    parsed = parse_marketplace_channel(channel)
    if parsed is None:
        return None, 0
    return CHANNELS.get(f"{parsed.prefix}-{parsed.topic}.{{{parsed.topic}Id}}"), parsed.number
