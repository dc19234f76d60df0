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


def test_a_former_secret_verifies_but_never_signs() -> None:
    before, during, after = (
        AccessTokens("old", lifetime_seconds=60),
        AccessTokens("new", "old", lifetime_seconds=60),
        AccessTokens("new", lifetime_seconds=60),
    )
    assert during.claims_of(f"Bearer {before.issue(7, SESSION)}").user_id == 7
    assert after.claims_of(f"Bearer {during.issue(7, SESSION)}").user_id == 7
    for issued, verified in ((before, after), (during, before)):
        with pytest.raises(InvalidTokenError):
            verified.claims_of(f"Bearer {issued.issue(7, SESSION)}")


def test_accepted_secrets_do_not_make_others_good() -> None:
    tokens = AccessTokens("new", "old", "older", lifetime_seconds=60)
    assert tokens.claims_of(f"Bearer {AccessTokens('older', lifetime_seconds=60).issue(1, SESSION)}").user_id == 1
    for secret in ("other", "new,old", "", "old,older"):
        with pytest.raises(InvalidTokenError):
            tokens.claims_of(f"Bearer {AccessTokens(secret, lifetime_seconds=60).issue(1, SESSION)}")
