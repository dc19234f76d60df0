"""Bodies and answers of accounts and sessions."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Final, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from sharedjox_marketplace.accounts.model import User
from sharedjox_marketplace.accounts.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from sharedjox_marketplace.accounts.repository import SessionRecord, UserRecord

from sharedjox_api.http.answers import Answer, Id
from sharedjox_api.http.json_body import Body, Line, StorableText


def _email(text: str) -> str:
    """An address in ASCII. Deliverability is not looked up: that would let callers make us query any domain."""
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError as error:
        msg = "must be an e-mail address"
        raise ValueError(msg) from error
    return found.ascii_email or found.normalized


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=254),
    AfterValidator(_email),
    Field(json_schema_extra={"format": "email"}, examples=["ada@example.com"]),
]
Skill = Annotated[Line, StringConstraints(max_length=50)]
NewPassword = Annotated[SecretStr, Field(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH)]
GivenPassword = Annotated[SecretStr, Field(max_length=MAX_PASSWORD_LENGTH)]


class RegisterBody(Body):
    """A new account. Operators are made on the command line only."""

    name: Annotated[Line, StringConstraints(max_length=100), Field(examples=["Ada"])]
    email: Email
    password: NewPassword
    role: Literal["client", "freelancer"]
    skills: list[Skill] = Field(default_factory=list, max_length=50, examples=[["react", "typescript"]])


class LoginBody(Body):
    """Address and password."""

    email: Annotated[StorableText, StringConstraints(max_length=254), Field(examples=["client@sharedjox.test"])]
    password: GivenPassword


class RefreshBody(Body):
    """The refresh token that came with the last log-in or refresh."""

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=512)]


class UpdateAccountBody(Body):
    """What a user may change of their own account; what is left out stays as it is."""

    name: Annotated[Line, StringConstraints(max_length=100), Field(examples=["Ada"])] | None = None
    skills: Annotated[list[Skill] | None, Field(max_length=50, examples=[["react", "typescript"]])] = None
    job_alerts: Annotated[
        bool | None, Field(description="Freelancers: be told of every new job that asks for no skill you lack.")
    ] = None


class UserAnswer(Answer, frozen=True):
    """A user, as they see themselves."""

    id: Id
    name: str
    email: str
    role: Literal["client", "freelancer", "operator"]
    skills: list[str]
    job_alerts: bool
    created_at: dt.datetime


class LoginAnswer(Answer, frozen=True):
    """A log-in. `expiresIn` is the access token's life in seconds."""

    user: UserAnswer
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int


class SessionAnswer(Answer, frozen=True):
    """One of the user's log-ins. `current`: the one that asks."""

    id: uuid.UUID
    created_at: dt.datetime
    last_used_at: dt.datetime
    expires_at: dt.datetime
    user_agent: str | None
    address: str | None
    current: bool


class SessionsAnswer(Answer, frozen=True):
    """All live log-ins of the user."""

    items: list[SessionAnswer]


def user_answer(user: User | UserRecord) -> UserAnswer:
    """Shape a user."""
    role: Any = user.role
    return UserAnswer(user.id, user.name, user.email, role, list(user.skills), user.wants_job_alerts, user.created_at)


def session_answer(session: SessionRecord, current: str) -> SessionAnswer:
    """Shape a session."""
    return SessionAnswer(
        session.id,
        session.created_at,
        session.last_used_at,
        session.expires_at,
        session.user_agent,
        session.address,
        str(session.id) == current,
    )


USER_EXAMPLE: Final = {
    "id": 2,
    "name": "Clara Client",
    "email": "client@sharedjox.test",
    "role": "client",
    "skills": [],
    "jobAlerts": False,
    "createdAt": "2026-02-21T09:00:00Z",
}
LOGIN_EXAMPLE: Final = {
    "user": USER_EXAMPLE,
    "accessToken": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…",
    "refreshToken": "pF2x…",
    "tokenType": "Bearer",
    "expiresIn": 900,
}
