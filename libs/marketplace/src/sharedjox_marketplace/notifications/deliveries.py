"""Pushes that wait for their turn: taken under a lease, then finished, postponed or given up.

Each call is one statement, committed at once: nothing is locked while a push service is being spoken to. A worker that
dies after taking leaves its pushes to the others when the lease ends, so a push may be sent twice, never lost.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import DateTime, bindparam, delete, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sharedjox_marketplace.orm import Record
from sharedjox_marketplace.prepared import Prepared

from .model import PushDelivery, PushSubscription


class DuePush(Record, frozen=True):
    """A notification for one browser. `attempts` counts this one."""

    id: int
    attempts: int
    subscription_id: int
    endpoint: str
    p256dh: str
    auth: str
    notification_id: int
    type: str
    title: str
    body: str
    job_id: int | None
    created_at: dt.datetime


_INSTANT: Final = DateTime(timezone=True)
_TAKE: Final = Prepared(
    text(
        "WITH due AS ("
        " SELECT id FROM push_deliveries WHERE due_at <= :now ORDER BY due_at, id LIMIT :wanted"
        " FOR UPDATE SKIP LOCKED"
        ") UPDATE push_deliveries AS push SET due_at = :lease_ends, attempts = push.attempts + 1"
        " FROM due, push_subscriptions AS browser, notifications AS told"
        " WHERE push.id = due.id AND browser.id = push.subscription_id AND told.id = push.notification_id"
        " RETURNING push.id, push.attempts, browser.id, browser.endpoint, browser.p256dh, browser.auth,"
        " told.id, told.type, told.title, told.body, told.job_id, told.created_at"
    ).bindparams(bindparam("now", type_=_INSTANT), bindparam("lease_ends", type_=_INSTANT))
)
_FINISH: Final = Prepared(delete(PushDelivery).where(PushDelivery.id == bindparam("push_id")))
_POSTPONE: Final = Prepared(
    update(PushDelivery).where(PushDelivery.id == bindparam("push_id")).values(due_at=bindparam("next_at"))
)
# A browser that registered anew meanwhile has other keys, and stays.
_FORGET: Final = Prepared(
    delete(PushSubscription).where(
        PushSubscription.id == bindparam("browser_id"), PushSubscription.p256dh == bindparam("key")
    )
)


async def take_due(connection: AsyncConnection, now: dt.datetime, *, lease: dt.timedelta, limit: int) -> list[DuePush]:
    """Up to `limit` pushes that are due, for the caller alone until the lease ends."""
    rows = await _TAKE.all(connection, now=now, lease_ends=now + lease, wanted=limit)
    return [DuePush(*row) for row in rows]


async def finish(connection: AsyncConnection, push: DuePush) -> None:
    """It was taken, or given up."""
    await _FINISH.all(connection, push_id=push.id)


async def postpone(connection: AsyncConnection, push: DuePush, until: dt.datetime) -> None:
    """Try again later."""
    await _POSTPONE.all(connection, push_id=push.id, next_at=until)


async def forget_browser(connection: AsyncConnection, push: DuePush) -> None:
    """The subscription has ended; what waits for it goes with it."""
    await _FORGET.all(connection, browser_id=push.subscription_id, key=push.p256dh)
