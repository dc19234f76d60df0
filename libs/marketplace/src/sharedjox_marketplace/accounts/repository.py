"""Reading users and sessions."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

import asyncpg
from sqlalchemy import Select, and_, bindparam, select, true
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.orm import Record, columns_of
from sharedjox_marketplace.prepared import Prepared

from .model import Session, User
from .rules import Role, normalize_email

_ACTOR_COLUMNS: Final = (User.id, User.role, User.name, User.skills)
_IS_LIVE: Final = and_(
    Session.id == bindparam("session_id"), Session.revoked_at.is_(None), Session.expires_at > bindparam("now")
)
# Statements of hot paths are built once: building one costs about as much as Postgres takes to answer it.
_ACTOR: Final = Prepared(select(*_ACTOR_COLUMNS).join(Session, Session.user_id == User.id).where(_IS_LIVE))


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
    return _actor(row, session_id)


def _actor(row: asyncpg.Record, session_id: uuid.UUID) -> Actor:
    user_id, role, name, skills = row[: len(_ACTOR_COLUMNS)]
    return Actor(user_id, Role(role), name, frozenset(skills), str(session_id))


class ActorReading:
    """What somebody asks for and whether their session is live, in one statement: one round trip, one moment.

    `wanted` has named parameters and one column that is never null first; by an `id` its rows come newest first.
    """

    __slots__ = ("_statement",)

    def __init__(self, wanted: Select[*tuple[Any, ...]]) -> None:
        found = wanted.lateral("found")
        statement = (
            select(*_ACTOR_COLUMNS, *found.c)
            .select_from(Session)
            .join(User, User.id == Session.user_id)
            .outerjoin(found, true())
            .where(_IS_LIVE)
        )
        self._statement = Prepared(statement.order_by(found.c.id.desc()) if "id" in found.c else statement)

    async def run(
        self, connection: AsyncConnection, session_id: uuid.UUID, now: dt.datetime, **values: object
    ) -> tuple[Actor | None, list[tuple[Any, ...]]]:
        """The user, None when the session has ended, and the rows; nobody may see those without looking at the user."""
        rows = await self._statement.all(connection, session_id=session_id, now=now, **values)
        if not rows:
            return None, []
        width = len(_ACTOR_COLUMNS)
        return _actor(rows[0], session_id), [row[width:] for row in rows if row[width] is not None]


async def list_sessions(connection: AsyncConnection, user_id: int, now: dt.datetime) -> list[SessionRecord]:
    """A user's live sessions, the last used first."""
    rows = await connection.execute(
        select(*columns_of(SessionRecord, Session))
        .where(Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > now)
        .order_by(Session.last_used_at.desc())
        .limit(100)
    )
    return [SessionRecord(*row) for row in rows]
