"""Access tokens: short-lived JWTs (HS256) that name a user and a log-in session.

A token alone proves little: every request also checks that its session is still live, so that a log-out counts at once.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from jose import JWTError, jwt
from sharedjox_marketplace.accounts.errors import InvalidTokenError

_ALGORITHM: Final = "HS256"
_ISSUER: Final = "sharedjox"
_REMEMBERED_TOKENS: Final = 10_000
_MAX_TOKEN_LENGTH: Final = 2048
_OPTIONS: Final = {"require_exp": True, "require_sub": True, "require_iat": True, "require_iss": True}


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a valid token says. `expires_at` in Unix seconds."""

    user_id: int
    session_id: uuid.UUID
    expires_at: int


class AccessTokens:
    """Issues and verifies. Verified tokens are remembered until they expire: checking one costs 100 us (2026-11).

    `accepted` secrets verify and never sign: with them a rotation has a time in which both are good.
    """

    def __init__(self, secret: str, *accepted: str, lifetime_seconds: int) -> None:
        self.lifetime_seconds = lifetime_seconds
        self._secret = secret
        self._verifying = (secret, *accepted)
        self._verified: OrderedDict[str, TokenClaims] = OrderedDict()

    def issue(self, user_id: int, session_id: uuid.UUID) -> str:
        """A fresh token."""
        now = int(time.time())
        claims = {
            "iss": _ISSUER,
            "sub": str(user_id),
            "sid": str(session_id),
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "jti": uuid.uuid4().hex,
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def claims_of(self, authorization: str | None) -> TokenClaims:
        """Read an Authorization header. Raises: InvalidTokenError."""
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN_LENGTH:
            raise InvalidTokenError("send a token: Authorization: Bearer …")
        claims = self._verified.get(token)
        if claims is None:
            claims = self._verify(token)
            self._verified[token] = claims
            if len(self._verified) > _REMEMBERED_TOKENS:
                self._verified.popitem(last=False)
        if claims.expires_at <= time.time():
            self._verified.pop(token, None)
            raise InvalidTokenError("the token has expired; refresh it")
        return claims

    def _verify(self, token: str) -> TokenClaims:
        for secret in self._verifying:
            with contextlib.suppress(JWTError, KeyError, ValueError, TypeError, AttributeError):
                claims = jwt.decode(token, secret, algorithms=[_ALGORITHM], issuer=_ISSUER, options=_OPTIONS)
                return TokenClaims(int(claims["sub"]), uuid.UUID(claims["sid"]), int(claims["exp"]))
        raise InvalidTokenError("the token is not valid or has expired")
