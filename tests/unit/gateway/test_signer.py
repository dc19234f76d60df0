"""Signatures are checked with prepared hashes; they are HMAC-SHA256 all the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sharedjox_contracts.signatures import sign
from sharedjox_gateway.apps import Signer

SECRETS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)


@given(SECRETS, SECRETS, TEXTS)
def test_agrees_with_hmac_for_secrets_of_any_length(secret: str, next_secret: str, text: str) -> None:
    signer = Signer(secret, [next_secret])
    for each in (secret, next_secret):
        assert signer.verify(text, sign(each, text))


@given(SECRETS, TEXTS, st.text(max_size=70))
def test_refuses_everything_else(secret: str, text: str, signature: str) -> None:
    right = sign(secret, text)
    assert Signer(secret).verify(text, signature) is (signature == right)
    assert not Signer(secret).verify(text + " ", right)
    assert not Signer(secret + "x").verify(text, right)


def test_refuses_text_that_cannot_be_signed() -> None:
    assert not Signer("secret").verify("\ud800", "0" * 64)
