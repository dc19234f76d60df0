"""The events that front ends listen to, with the payloads of the architecture document.

Additions go into the envelope (`frames.py`), never into a payload: same keys, same types, nothing missing.
Field order is the order on the wire.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, Struct

Id = Annotated[int, Meta(ge=1, description="A positive integer id.")]
Money = Annotated[Decimal, Meta(description="A JSON number with at most two decimals.")]
Timestamp = Annotated[dt.datetime, Meta(tz=True, description="UTC, ISO 8601 with `Z`.")]
Score = Annotated[int, Meta(ge=0, le=100, description="Match score; 100 is a full match.")]

JobStatus = Literal["active", "claimed", "in_progress", "submitted", "completed", "cancelled"]
TransactionType = Literal[
    "deposit", "withdrawal", "hold", "release", "job_payment", "job_earning", "platform_fee", "adjustment"
]


class Payload(Struct, frozen=True, rename="camel", forbid_unknown_fields=False):
    """Base of all payloads. Unknown fields are ignored on reading: they come from a newer writer."""

    event_name: ClassVar[str]


class PostedJob(Struct, frozen=True, rename="camel"):
    """The job as `job.posted` shows it: what a discovery list needs, the rest comes over REST."""

    id: Id
    client_id: Id
    title: str
    budget_min: Money
    budget_max: Money
    status: JobStatus
    required_skills: list[str]
    estimated_duration: Annotated[int, Meta(ge=0, description="Minutes.")]
    created_at: Timestamp


class JobPosted(Payload, frozen=True):
    """A job was posted. On `jobs.discovery`."""

    event_name: ClassVar[str] = "job.posted"

    job: PostedJob
    match_score: Score
    timestamp: Timestamp


class JobClaimed(Payload, frozen=True):
    """A freelancer claimed a job. On `private-job.{id}` and `private-user.{clientId}`."""

    event_name: ClassVar[str] = "job.claimed"

    job_id: Id
    claimed_by: Id
    claimed_at: Timestamp
    match_score: Score
    timestamp: Timestamp


class JobUpdated(Payload, frozen=True):
    """A job changed its status. On `private-job.{id}`."""

    event_name: ClassVar[str] = "job.updated"

    job_id: Id
    status: JobStatus
    deliverables: list[str]
    updated_at: Timestamp
    timestamp: Timestamp


class WalletUpdated(Payload, frozen=True):
    """A wallet's balance or available balance changed. On `private-user.{userId}`."""

    event_name: ClassVar[str] = "wallet.updated"

    user_id: Id
    new_balance: Money
    available_balance: Money
    transaction_type: TransactionType
    amount: Money
    timestamp: Timestamp


class NotificationCreated(Payload, frozen=True):
    """A notification was stored. On `private-user.{userId}`."""

    event_name: ClassVar[str] = "notification.created"

    id: Id
    user_id: Id
    type: str
    title: str
    body: str
    job_id: Id | None
    created_at: Timestamp
    timestamp: Timestamp


Event = JobPosted | JobClaimed | JobUpdated | WalletUpdated | NotificationCreated

EVENT_TYPES: Final[dict[str, type[Payload]]] = {
    kind.event_name: kind for kind in (JobPosted, JobClaimed, JobUpdated, WalletUpdated, NotificationCreated)
}


def decode_event(name: str, payload: bytes | str) -> Payload:
    """Read a payload by its event name.

    Raises: UnknownEventError when no such event exists; msgspec.ValidationError when the payload does not fit.
    """
    kind = EVENT_TYPES.get(name)
    if kind is None:
        raise UnknownEventError(name)
    return msgspec.json.decode(payload, type=kind)


class UnknownEventError(ValueError):
    """No event of that name is in the contracts."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown event {name!r}")
        self.name = name
