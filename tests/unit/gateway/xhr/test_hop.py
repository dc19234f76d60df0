"""Signatures between gateways: good for one request, one minute, and whoever has the app's secret."""

from __future__ import annotations

import hashlib

import pytest
from sharedjox_contracts.signatures import sign
from sharedjox_gateway.apps import App
from sharedjox_gateway.xhr.hop import TOLERANCE_SECONDS, is_signed_hop, sign_hop

APP = App(id="1001", key="sharedjox", secret="its-secret")
PATH = "/app/sharedjox/1/abcdefgh/xhr_send"
BODY = b'["{}"]'
NOW = 1_800_000_000.0
SIGNED = sign_hop(APP, PATH, BODY, NOW)


def test_what_a_gateway_signed_is_good() -> None:
    assert is_signed_hop(APP, SIGNED, PATH, BODY, NOW)


@pytest.mark.parametrize("later", [-TOLERANCE_SECONDS, TOLERANCE_SECONDS])
def test_clocks_may_differ(later: int) -> None:
    assert is_signed_hop(APP, SIGNED, PATH, BODY, NOW + later)


@pytest.mark.parametrize("later", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1])
def test_it_is_not_good_for_ever(later: int) -> None:
    assert not is_signed_hop(APP, SIGNED, PATH, BODY, NOW + later)


@pytest.mark.parametrize(
    ("path", "body"), [(PATH.removesuffix("_send"), BODY), (PATH.replace("abcdefgh", "abcdefgi"), BODY), (PATH, b"[]")]
)
def test_it_is_good_for_one_request_only(path: str, body: bytes) -> None:
    assert not is_signed_hop(APP, SIGNED, path, body, NOW)


@pytest.mark.parametrize(
    "value",
    [
        "",
        ":",
        "x:" + SIGNED.partition(":")[2],
        f"{NOW + 1:.0f}:" + SIGNED.partition(":")[2],
        SIGNED.upper(),
        SIGNED[:-1] + "é",
        "٣" * 10 + ":x",
        "9" * 400 + ":x",
    ],
)
def test_anything_else_is_refused(value: str) -> None:
    assert not is_signed_hop(APP, value, PATH, BODY, NOW)


def test_the_secret_itself_signs_nothing_here() -> None:
    """What the app's back end or its auth endpoint can be brought to sign is of no use between gateways."""
    timestamp, _, _ = SIGNED.partition(":")
    text = f"{timestamp}\n{PATH}\n{hashlib.sha256(BODY).hexdigest()}"
    assert not is_signed_hop(APP, f"{timestamp}:{sign(APP.secret, text)}", PATH, BODY, NOW)


def test_another_apps_secret_is_not_good() -> None:
    other = App(id="1002", key="sharedjox", secret="another")
    assert not is_signed_hop(APP, sign_hop(other, PATH, BODY, NOW), PATH, BODY, NOW)


def test_in_a_rotation_both_secrets_are_good() -> None:
    switched = App(id="1001", key="sharedjox", secret="the-next", accepted_secrets=("its-secret",))
    prepared = App(id="1001", key="sharedjox", secret="its-secret", accepted_secrets=("the-next",))
    assert is_signed_hop(switched, SIGNED, PATH, BODY, NOW)
    assert is_signed_hop(prepared, sign_hop(switched, PATH, BODY, NOW), PATH, BODY, NOW)
