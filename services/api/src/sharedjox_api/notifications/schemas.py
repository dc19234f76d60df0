"""Bodies and answers of notifications and Web Push."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints
from sharedjox_marketplace.notifications.model import Notification, PushSubscription
from sharedjox_marketplace.notifications.push_rules import check_public_key
from sharedjox_marketplace.notifications.repository import NotificationRecord

from sharedjox_api.http.answers import Answer, Id
from sharedjox_api.http.json_body import Body, StorableText


def _point(key: str) -> str:
    """Refuse here what the worker could not encrypt for."""
    check_public_key(key)
    return key


class PushKeysBody(Body):
    """The browser's keys, base64url: an uncompressed P-256 point (65 bytes) and a secret (16 bytes)."""

    p256dh: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9_\-]{87}=?$"),
        AfterValidator(_point),
        # The alias generator would make it p256Dh.
        Field(alias="p256dh"),
    ]
    auth: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{22}(==)?$")]


class PushSubscriptionBody(Body):
    """What `PushSubscription.toJSON()` gives in a browser."""

    endpoint: Annotated[
        StorableText,
        StringConstraints(min_length=9, max_length=2000),
        Field(examples=["https://push.example.net/send/abc"]),
    ]
    keys: PushKeysBody


class NotificationAnswer(Answer, frozen=True):
    """A stored notification."""

    id: Id
    user_id: Id
    type: str
    title: str
    body: str
    job_id: Id | None
    created_at: dt.datetime
    read_at: dt.datetime | None


class PushSubscriptionAnswer(Answer, frozen=True):
    """A registered browser."""

    id: Id
    endpoint: str
    created_at: dt.datetime


class PublicKeyAnswer(Answer, frozen=True):
    """The VAPID key for `pushManager.subscribe` (base64url)."""

    public_key: str


def notification_answer(notification: Notification | NotificationRecord) -> NotificationAnswer:
    """Shape a notification."""
    return NotificationAnswer(
        notification.id,
        notification.user_id,
        notification.type,
        notification.title,
        notification.body,
        notification.job_id,
        notification.created_at,
        notification.read_at,
    )


def push_subscription_answer(subscription: PushSubscription) -> PushSubscriptionAnswer:
    """Shape a push subscription."""
    return PushSubscriptionAnswer(subscription.id, subscription.endpoint, subscription.created_at)


NOTIFICATION_EXAMPLE: Final = {
    "id": 11,
    "userId": 2,
    "type": "job.claimed",
    "title": "Your job was claimed",
    "body": "Frida Freelancer claimed “Build React Dashboard”.",
    "jobId": 1,
    "createdAt": "2026-02-21T10:05:00Z",
    "readAt": None,
}
