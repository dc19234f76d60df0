"""Reading notifications and push subscriptions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from .model import Notification, PushSubscription


async def list_notifications(
    session: AsyncSession, user_id: int, *, before_id: int | None, limit: int, unread_only: bool = False
) -> Sequence[Notification]:
    """A user's notifications, newest first, with ids below `before_id`; one more than `limit` tells of a next page."""
    query = select(Notification).where(Notification.user_id == user_id).order_by(Notification.id.desc())
    if before_id is not None:
        query = query.where(Notification.id < before_id)
    if unread_only:
        query = query.where(Notification.read_at.is_(None))
    return (await session.execute(query.limit(limit + 1))).scalars().all()


async def push_subscriptions_of(session: AsyncSession, user_id: int) -> Sequence[PushSubscription]:
    """A user's browsers."""
    found = await session.execute(
        select(PushSubscription).where(PushSubscription.user_id == user_id).order_by(PushSubscription.id)
    )
    return found.scalars().all()
