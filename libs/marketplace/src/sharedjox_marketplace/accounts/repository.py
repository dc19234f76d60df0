"""Reading users and sessions."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from sharedjox_marketplace.context import Actor

from .model import Session, User
from .rules import Role, normalize_email


async def find_user(session: AsyncSession, user_id: int) -> User | None:
    """A user by id."""
    return await session.get(User, user_id)


async def find_user_by_email(session: AsyncSession, email: str) -> User | None:
    """A user by address, whatever its case."""
    found = await session.execute(select(User).where(User.email == normalize_email(email)))
    return found.scalar_one_or_none()


async def find_actor(session: AsyncSession, session_id: uuid.UUID, now: dt.datetime) -> Actor | None:
    """The user of a live log-in session; None when it ended. One query, run for every request with a token."""
    row = (
        await session.execute(
            select(User.id, User.role, User.name, User.skills)
            .join(Session, Session.user_id == User.id)
            .where(Session.id == session_id, Session.revoked_at.is_(None), Session.expires_at > now)
        )
    ).one_or_none()
    if row is None:
        return None
    return Actor(row.id, Role(row.role), row.name, frozenset(row.skills), str(session_id))


async def list_sessions(session: AsyncSession, user_id: int, now: dt.datetime) -> Sequence[Session]:
    """A user's live sessions, the last used first."""
    found = await session.execute(
        select(Session)
        .where(Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > now)
        .order_by(Session.last_used_at.desc())
        .limit(100)
    )
    return found.scalars().all()
