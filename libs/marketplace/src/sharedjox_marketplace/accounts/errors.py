"""Refusals around accounts and sessions."""

from __future__ import annotations

from sharedjox_marketplace.errors import DomainError, ErrorKind


class EmailTakenError(DomainError):
    """Somebody has registered with this address."""

    kind = ErrorKind.CONFLICT
    code = "email-taken"
    title = "Address already registered"


class InvalidCredentialsError(DomainError):
    """Address and password do not belong together. Never says which of the two is wrong."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "invalid-credentials"
    title = "Wrong address or password"


class InvalidTokenError(DomainError):
    """No, expired or revoked token."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "invalid-token"
    title = "No valid token"


class RefreshTokenReusedError(DomainError):
    """A refresh token was presented twice: one of the two holders stole it, so the session ended."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "refresh-token-reused"
    title = "Refresh token used twice"


class SessionNotFoundError(DomainError):
    """The caller has no such session."""

    kind = ErrorKind.NOT_FOUND
    code = "session-not-found"
    title = "No such session"
