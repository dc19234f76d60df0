"""Tables of notifications and Web Push subscriptions."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from sharedjox_marketplace.orm import Base, Instant, Serial


class Notification(Base):
    """Something a user should know, kept until they have read it. `pushed_at`: when the worker pushed it."""

    __tablename__ = "notifications"
    __table_args__ = (
        Index("ix_notifications_user_id_id", "user_id", "id"),
        Index("ix_notifications_unpushed", "id", postgresql_where=text("pushed_at IS NULL")),
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
