"""Who acts, and the request in which it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .accounts.rules import Role


@dataclass(frozen=True, slots=True)
class Actor:
    """The user on whose behalf an action runs, as the session check found them."""

    id: int
    role: Role
    name: str = ""
    skills: frozenset[str] = frozenset()
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What an event carries of the request that caused it.

    `socket_id`: the connection that must not get the event back (`X-Socket-ID`). `address`: for the audit log.
    """

    request_id: str | None = None
    traceparent: str | None = None
    socket_id: str | None = None
    address: str | None = None


NO_REQUEST: Final = RequestContext()
