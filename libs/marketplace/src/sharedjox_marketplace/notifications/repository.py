"""Reading notifications and push subscriptions."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import bindparam, select

from sharedjox_marketplace.accounts.repository import ActorReading
from sharedjox_marketplace.orm import BIGINT_MAX, Record, columns_of

from .model import Notification


class NotificationRecord(Record, frozen=True):
    """A notification as committed."""

    id: int
    user_id: int
    type: str
    title: str
    body: str
    job_id: int | None
    created_at: dt.datetime
    read_at: dt.datetime | None


_NEWEST: Final = (
    select(*columns_of(NotificationRecord, Notification))
    .where(Notification.user_id == bindparam("user_id"), Notification.id < bindparam("before_id"))
    .order_by(Notification.id.desc())
    .limit(bindparam("wanted"))
)
_ALL: Final = ActorReading(_NEWEST)
_UNREAD: Final = ActorReading(_NEWEST.where(Notification.read_at.is_(None)))


def newest_notifications(
    user_id: int, *, before_id: int | None, limit: int, unread_only: bool = False
) -> tuple[ActorReading, dict[str, object]]:
    """A user's notifications, newest first, with ids below `before_id`, and the values of that statement.

    One more than `limit` tells of a next page. The rows are those of `NotificationRecord`.
    """
    values: dict[str, object] = {"user_id": user_id, "before_id": before_id or BIGINT_MAX, "wanted": limit + 1}
    return _UNREAD if unread_only else _ALL, values
