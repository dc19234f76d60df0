"""Reading users and sessions."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.orm import Record, columns_of
from sharedjox_marketplace.prepared import Prepared

from .model import Session, User
from .rules import Role, normalize_email

# Statements of hot paths are built once: building one costs about as much as Postgres takes to answer it.
_ACTOR: Final = Prepared(
    select(User.id, User.role, User.name, User.skills)
    .join(Session, Session.user_id == User.id)
    .where(Session.id == bindparam("session_id"), Session.revoked_at.is_(None), Session.expires_at > bindparam("now"))
)


class UserRecord(Record, frozen=True):
    """A user as committed, without the password's hash."""

    id: int
    name: str
    email: str
    role: str
    skills: list[str]
    wants_job_alerts: bool
    created_at: dt.datetime


class SessionRecord(Record, frozen=True):
    """A log-in session as committed."""

    id: uuid.UUID
    created_at: dt.datetime
    last_used_at: dt.datetime
    expires_at: dt.datetime
    user_agent: str | None
    address: str | None


async def find_user(connection: AsyncConnection, user_id: int) -> UserRecord | None:
    """A user by id."""
    row = (await connection.execute(select(*columns_of(UserRecord, User)).where(User.id == user_id))).one_or_none()
    return UserRecord(*row) if row else None


async def find_user_by_email(session: AsyncSession, email: str) -> User | None:
    """A user by address, whatever its case."""
    found = await session.execute(select(User).where(User.email == normalize_email(email)))
    return found.scalar_one_or_none()


async def find_actor(connection: AsyncConnection, session_id: uuid.UUID, now: dt.datetime) -> Actor | None:
    """The user of a live log-in session; None when it ended. One query, run for every request with a token."""
    row = await _ACTOR.first(connection, session_id=session_id, now=now)
    if row is None:
        return None
    user_id, role, name, skills = row
    return Actor(user_id, Role(role), name, frozenset(skills), str(session_id))


async def list_sessions(connection: AsyncConnection, user_id: int, now: dt.datetime) -> list[SessionRecord]:
    """A user's live sessions, the last used first."""
    rows = await connection.execute(
        select(*columns_of(SessionRecord, Session))
        .where(Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > now)
        .order_by(Session.last_used_at.desc())
        .limit(100)
    )
    return [SessionRecord(*row) for row in rows]
