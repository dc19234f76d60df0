"""Access tokens."""

from __future__ import annotations

import uuid

import pytest
from sharedjox_api.auth.tokens import AccessTokens
from sharedjox_marketplace.accounts.errors import InvalidTokenError

SESSION = uuid.uuid4()


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Token x", "Bearer a.b.c", "Bearer " + "a" * 3000])
def test_odd_headers_are_refused(header: str | None) -> None:
    with pytest.raises(InvalidTokenError):
        AccessTokens("secret", lifetime_seconds=60).claims_of(header)


def test_expired_tokens_are_refused_even_when_remembered() -> None:
    tokens = AccessTokens("secret", lifetime_seconds=-1)
    with pytest.raises(InvalidTokenError):
        tokens.claims_of(f"Bearer {tokens.issue(1, SESSION)}")


def test_tokens_of_another_secret_are_refused() -> None:
    token = AccessTokens("other", lifetime_seconds=60).issue(1, SESSION)
    with pytest.raises(InvalidTokenError):
        AccessTokens("secret", lifetime_seconds=60).claims_of(f"Bearer {token}")


def test_a_token_says_who_and_which_session() -> None:
    tokens = AccessTokens("secret", lifetime_seconds=60)
    for scheme in ("Bearer", "bearer"):
        claims = tokens.claims_of(f"{scheme} {tokens.issue(7, SESSION)}")
        assert (claims.user_id, claims.session_id) == (7, SESSION)
