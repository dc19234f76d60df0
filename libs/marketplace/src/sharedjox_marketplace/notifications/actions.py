"""Storing, reading and pushing notifications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from sharedjox_contracts.channels import private_user
from sharedjox_contracts.events import NotificationCreated
from sqlalchemy import ARRAY, BigInteger, DateTime, String, bindparam, delete, text
from sqlalchemy.dialects.postgresql import insert as upsert

from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.errors import DomainError, ErrorKind
from sharedjox_marketplace.prepared import Prepared
from sharedjox_marketplace.unit_of_work import UnitOfWork

from .model import Notification, PushSubscription


class NotificationNotFoundError(DomainError):
    """The caller has no such notification."""

    kind = ErrorKind.NOT_FOUND
    code = "notification-not-found"
    title = "No such notification"


class PushSubscriptionNotFoundError(DomainError):
    """The caller has no such Web Push subscription."""

    kind: ClassVar[ErrorKind] = ErrorKind.NOT_FOUND
    code = "push-subscription-not-found"
    title = "No such push subscription"


# A notification and a push to each of its user's browsers, in one round trip.
_ADD: Final = Prepared(
    text(
        "WITH notification AS ("
        " INSERT INTO notifications (user_id, type, title, body, job_id, created_at)"
        " SELECT user_id, :type, :title, :body, :job_id, :now FROM unnest(CAST(:user_ids AS bigint[])) AS user_id"
        " ON CONFLICT DO NOTHING RETURNING id, user_id"
        "), push AS ("
        " INSERT INTO push_deliveries (notification_id, subscription_id, due_at)"
        " SELECT notification.id, subscription.id, :now FROM notification"
        " JOIN push_subscriptions AS subscription ON subscription.user_id = notification.user_id"
        ") SELECT id, user_id FROM notification ORDER BY id"
    ).bindparams(
        bindparam("type", type_=String),
        bindparam("title", type_=String),
        bindparam("body", type_=String),
        bindparam("job_id", type_=BigInteger),
        bindparam("now", type_=DateTime(timezone=True)),
        bindparam("user_ids", type_=ARRAY(BigInteger)),
    )
)


async def notify(
    unit: UnitOfWork, user_id: int, *, kind: str, title: str, body: str, job_id: int | None = None
) -> None:
    """Store a notification in the running transaction, record its event, and have it pushed to the user's browsers."""
    await notify_all(unit, [user_id], kind=kind, title=title, body=body, job_id=job_id)


async def notify_all(
    unit: UnitOfWork, user_ids: Sequence[int], *, kind: str, title: str, body: str, job_id: int | None = None
) -> int:
    """The same to many; returns how many. Who has been told of this job alert before is left out."""
    if not user_ids:
        return 0
    stored = await _ADD.all(
        unit.connection, user_ids=list(user_ids), type=kind, title=title, body=body, job_id=job_id, now=unit.now
    )
    for notification_id, user_id in stored:
        unit.record(
            NotificationCreated(
                id=notification_id,
                user_id=user_id,
                type=kind,
                title=title,
                body=body,
                job_id=job_id,
                created_at=unit.now,
                timestamp=unit.now,
            ),
            private_user(user_id),
        )
    return len(stored)


@dataclass(frozen=True, slots=True)
class MarkNotificationReadAction:
    """Mark one of the actor's notifications as read; a second time changes nothing."""

    actor: Actor
    notification_id: int

    async def __call__(self, unit: UnitOfWork) -> Notification:
        """Raises: NotificationNotFoundError."""
        found = await unit.session.get(Notification, self.notification_id, with_for_update=True)
        if found is None or found.user_id != self.actor.id:
            raise NotificationNotFoundError("you have no such notification")
        if found.read_at is None:
            found.read_at = unit.now
        return found


@dataclass(frozen=True, slots=True)
class SubscribePushAction:
    """Remember a browser's Web Push subscription. An endpoint belongs to whoever registered it last."""

    actor: Actor
    endpoint: str
    p256dh: str
    auth: str

    async def __call__(self, unit: UnitOfWork) -> PushSubscription:
        """Returns the stored subscription."""
        values = {"user_id": self.actor.id, "p256dh": self.p256dh, "auth": self.auth}
        stored = await unit.session.execute(
            upsert(PushSubscription)
            .values(endpoint=self.endpoint, created_at=unit.now, **values)
            .on_conflict_do_update(index_elements=["endpoint"], set_=values)
            .returning(PushSubscription)
        )
        return stored.scalar_one()


@dataclass(frozen=True, slots=True)
class UnsubscribePushAction:
    """Forget one of the actor's Web Push subscriptions, named by its id or by its endpoint."""

    actor: Actor
    subscription_id: int | None = None
    endpoint: str | None = None

    async def __call__(self, unit: UnitOfWork) -> None:
        """Raises: PushSubscriptionNotFoundError."""
        named = (
            PushSubscription.id == self.subscription_id
            if self.endpoint is None
            else PushSubscription.endpoint == self.endpoint
        )
        gone = await unit.session.execute(
            delete(PushSubscription)
            .where(named, PushSubscription.user_id == self.actor.id)
            .returning(PushSubscription.id)
        )
        if gone.first() is None:
            raise PushSubscriptionNotFoundError("you have no such push subscription")
