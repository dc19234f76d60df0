"""What can go wrong in the marketplace, as data: a kind, a stable code, a sentence for people, and facts.

Only the edge (HTTP, CLI) turns a kind into a status. Codes are public: they never change their meaning.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar


class ErrorKind(Enum):
    """The families of refusals."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    PRECONDITION = "precondition"


class DomainError(Exception):
    """Base of all refusals. `facts` travel to the caller beside the sentence."""

    kind: ClassVar[ErrorKind]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts


class NotAllowedError(DomainError):
    """The caller is known and may not do this."""

    kind = ErrorKind.FORBIDDEN
    code = "forbidden"
    title = "Not allowed"


class StaleVersionError(DomainError):
    """The resource changed since the version that the caller named."""

    kind = ErrorKind.PRECONDITION
    code = "version-mismatch"
    title = "The resource has changed"
