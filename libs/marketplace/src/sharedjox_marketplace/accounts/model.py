"""Tables of users, sessions and refresh tokens."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, Text, Uuid, false, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from sharedjox_marketplace.orm import Base, Instant, Serial


class User(Base):
    """A person. `email` is stored in lower case. Who is suspended has no live session and cannot begin one."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("role IN ('client', 'freelancer', 'operator')", name="role"),
        CheckConstraint("email = lower(email)", name="email_lower"),
        Index("ix_users_job_alerts", "id", postgresql_where=text("wants_job_alerts")),
        Index("ix_users_alert_skills", "skills", postgresql_using="gin", postgresql_where=text("wants_job_alerts")),
    )

    id: Mapped[Serial]
    email: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(Text)
    skills: Mapped[list[str]] = mapped_column(ARRAY(String(50)), server_default=text("'{}'"))
    wants_job_alerts: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[Instant]
    suspended_at: Mapped[Instant | None]


class Session(Base):
    """One log-in. Access tokens name it; it ends by log-out, by expiry or by a refresh token used twice."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_id", "user_id"), Index("ix_sessions_expires_at", "expires_at"))

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[Instant]
    last_used_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    revoked_at: Mapped[Instant | None]
    revoked_because: Mapped[str | None] = mapped_column(String(40))
    user_agent: Mapped[str | None] = mapped_column(String(200))
    address: Mapped[str | None] = mapped_column(String(64))

    def is_live(self, now: dt.datetime) -> bool:
        """Whether its tokens still count."""
        return self.revoked_at is None and now < self.expires_at


class RefreshToken(Base):
    """A refresh token's SHA-256. A used one is kept while its session lives, to notice a second use."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("ix_refresh_tokens_session_id", "session_id"),)

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    created_at: Mapped[Instant]
    used_at: Mapped[Instant | None]
