"""Registering, logging in and out; each action is one transaction with its events."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from dataclasses import dataclass

from sharedjox_contracts.channels import private_user
from sharedjox_contracts.control import SessionRevoked
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from sharedjox_marketplace.audit import audit
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.database import constraint_name
from sharedjox_marketplace.errors import NotAllowedError
from sharedjox_marketplace.unit_of_work import UnitOfWork
from sharedjox_marketplace.wallet.repository import open_wallet

from .errors import EmailTakenError, SessionNotFoundError
from .model import RefreshToken, Session, User
from .rules import Role, normalize_email, normalize_skills


@dataclass(frozen=True, slots=True)
class Grant:
    """A log-in: who, which session, and the refresh token, which is only ever known here and by its holder."""

    user: User
    session_id: uuid.UUID
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Device:
    """Where a log-in comes from, for the list of sessions."""

    user_agent: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class RegisterAction:
    """Make a user with an empty wallet."""

    email: str
    name: str
    password_hash: str
    role: Role
    skills: list[str]

    async def __call__(self, unit: UnitOfWork) -> User:
        """Raises: EmailTakenError."""
        user = User(
            email=normalize_email(self.email),
            name=self.name,
            role=self.role.value,
            password_hash=self.password_hash,
            skills=normalize_skills(self.skills),
            wants_job_alerts=False,
            created_at=unit.now,
        )
        unit.session.add(user)
        try:
            await unit.session.flush()
        except IntegrityError as error:
            if constraint_name(error) == "uq_users_email":
                raise EmailTakenError("an account with this address exists; log in instead") from error
            raise
        await open_wallet(unit.session, user.id)
        await audit(unit, "user.registered", actor_id=user.id, subject=f"user:{user.id}", role=user.role)
        return user


@dataclass(frozen=True, slots=True)
class UpdateAccountAction:
    """Change what a user may change of their own account; None leaves a thing as it is."""

    actor: Actor
    name: str | None = None
    skills: list[str] | None = None
    wants_job_alerts: bool | None = None

    async def __call__(self, unit: UnitOfWork) -> User:
        """Raises: NotAllowedError when somebody else than a freelancer wants job alerts."""
        if self.wants_job_alerts and self.actor.role is not Role.FREELANCER:
            raise NotAllowedError("only freelancers are told of new jobs")
        user = await unit.session.get_one(User, self.actor.id, with_for_update={"key_share": True})
        if self.name is not None:
            user.name = self.name
        if self.skills is not None:
            user.skills = normalize_skills(self.skills)
        if self.wants_job_alerts is not None:
            user.wants_job_alerts = self.wants_job_alerts
        return user


@dataclass(frozen=True, slots=True)
class StartSessionAction:
    """Begin a log-in session for a user whose password was checked."""

    user: User
    lifetime: dt.timedelta
    device: Device = Device()

    async def __call__(self, unit: UnitOfWork) -> Grant:
        """Returns the grant with the first refresh token."""
        session_id = uuid.uuid4()
        unit.session.add(
            Session(
                id=session_id,
                user_id=self.user.id,
                created_at=unit.now,
                last_used_at=unit.now,
                expires_at=unit.now + self.lifetime,
                user_agent=self.device.user_agent,
                address=self.device.address,
            )
        )
        await unit.session.flush()
        token = _issue(unit, session_id)
        await audit(unit, "session.started", actor_id=self.user.id, subject=f"session:{session_id}")
        return Grant(self.user, session_id, token)


@dataclass(frozen=True, slots=True)
class RefreshAction:
    """Exchange a refresh token for a new one. Returns None when it is unknown or its session has ended.

    A token that was exchanged before has two holders, one of whom stole it: the session is revoked, which must commit,
    so this too is told by the result (`reused`) and not by an exception.
    """

    token: str
    lifetime: dt.timedelta

    async def __call__(self, unit: UnitOfWork) -> Grant | RefreshRefused:
        """Never raises for a bad token."""
        token_hash = _token_hash(self.token)
        known = await unit.session.get(RefreshToken, token_hash)
        if known is None:
            return RefreshRefused(reused=False)
        # The session's row is the lock: two exchanges of one token run one after the other.
        session = await unit.session.get_one(Session, known.session_id, with_for_update=True)
        await unit.session.refresh(known)
        if not session.is_live(unit.now):
            return RefreshRefused(reused=False)
        if known.used_at is not None:
            await _revoke(unit, session, "refresh_reuse", actor_id=None)
            return RefreshRefused(reused=True)
        known.used_at = session.last_used_at = unit.now
        session.expires_at = unit.now + self.lifetime
        user = await unit.session.get_one(User, session.user_id)
        return Grant(user, session.id, _issue(unit, session.id))


@dataclass(frozen=True, slots=True)
class RefreshRefused:
    """No new token. `reused`: because the old one had been exchanged before."""

    reused: bool


@dataclass(frozen=True, slots=True)
class RevokeSessionAction:
    """End one of the actor's sessions, at once: its tokens and its sockets."""

    actor: Actor
    session_id: uuid.UUID
    reason: str = "logout"

    async def __call__(self, unit: UnitOfWork) -> None:
        """Raises: SessionNotFoundError when it is not theirs or ended before."""
        found = await unit.session.execute(
            select(Session).where(Session.id == self.session_id, Session.user_id == self.actor.id).with_for_update()
        )
        session = found.scalar_one_or_none()
        if session is None or not session.is_live(unit.now):
            raise SessionNotFoundError("you have no such session")
        await _revoke(unit, session, self.reason, actor_id=self.actor.id)


@dataclass(frozen=True, slots=True)
class StoreRehashAction:
    """Keep a hash with today's parameters, unless the password was changed meanwhile."""

    user_id: int
    old_hash: str
    new_hash: str

    async def __call__(self, unit: UnitOfWork) -> None:
        """Never fails."""
        await unit.session.execute(
            update(User)
            .where(User.id == self.user_id, User.password_hash == self.old_hash)
            .values(password_hash=self.new_hash)
        )


async def _revoke(unit: UnitOfWork, session: Session, reason: str, *, actor_id: int | None) -> None:
    session.revoked_at, session.revoked_because = unit.now, reason
    unit.record(SessionRevoked(session_id=str(session.id)), private_user(session.user_id))
    await audit(unit, "session.revoked", actor_id=actor_id, subject=f"session:{session.id}", reason=reason)


def _issue(unit: UnitOfWork, session_id: uuid.UUID) -> str:
    token = secrets.token_urlsafe(32)
    unit.session.add(RefreshToken(token_hash=_token_hash(token), session_id=session_id, created_at=unit.now))
    return token


def _token_hash(token: str) -> bytes:
    """A random 256-bit token needs no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
