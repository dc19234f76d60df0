"""Tables of notifications and Web Push subscriptions."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ForeignKey, Index, SmallInteger, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from sharedjox_marketplace.orm import Base, Instant, Serial

JOB_ALERT: Final = "job.alert"
"""The type of what a freelancer is told of a new job."""


class Notification(Base):
    """Something a user should know, kept until they have read it. `pushed_at` is not used any more.

    The partial unique index is the last line of defence: nobody is told of a new job twice.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        Index("ix_notifications_user_id_id", "user_id", "id"),
        Index(
            "uq_notifications_job_alert",
            "user_id",
            "job_id",
            unique=True,
            postgresql_where=text(f"type = '{JOB_ALERT}'"),
        ),
    )

    id: Mapped[Serial]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    created_at: Mapped[Instant]
    read_at: Mapped[Instant | None]
    pushed_at: Mapped[Instant | None]


class PushSubscription(Base):
    """A browser that takes Web Push: the push service's address and the keys to encrypt for it."""

    __tablename__ = "push_subscriptions"
    __table_args__ = (UniqueConstraint("endpoint"), Index("ix_push_subscriptions_user_id", "user_id"))

    id: Mapped[Serial]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    endpoint: Mapped[str] = mapped_column(String(2000))
    p256dh: Mapped[str] = mapped_column(String(120))
    auth: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[Instant]


class PushDelivery(Base):
    """A notification that has to be pushed to one browser. It goes when it was taken or given up.

    It is written with the notification. `due_at`: when to try next; who tries moves it on first, so that nobody else
    does meanwhile.
    """

    __tablename__ = "push_deliveries"
    __table_args__ = (
        UniqueConstraint("notification_id", "subscription_id"),
        Index("ix_push_deliveries_due_at", "due_at"),
        Index("ix_push_deliveries_subscription_id", "subscription_id"),
    )

    id: Mapped[Serial]
    notification_id: Mapped[int] = mapped_column(ForeignKey("notifications.id", ondelete="CASCADE"))
    subscription_id: Mapped[int] = mapped_column(ForeignKey("push_subscriptions.id", ondelete="CASCADE"))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    due_at: Mapped[Instant]
