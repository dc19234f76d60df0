"""Reading `channel_data`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_gateway.apps import AppLimits
from sharedjox_gateway.errors import SubscribeRefusedError
from sharedjox_gateway.presence.member import PresenceMember, decode_member

LIMITS = AppLimits()


@pytest.mark.parametrize(
    ("channel_data", "member"),
    [
        ('{"user_id":7}', PresenceMember("7", b"null")),
        ('{"user_id":0}', PresenceMember("0", b"null")),
        ('{"user_id":"0"}', PresenceMember("0", b"null")),
        ('{"user_id":-1,"user_info":true}', PresenceMember("-1", b"true")),
        ('{ "user_info" : { "a" : 1.0 } , "user_id" : "x", "more": 1 }', PresenceMember("x", b'{ "a" : 1.0 }')),
        ('{"user_id":12345678901234567890123}', PresenceMember("12345678901234567890123", b"null")),
    ],
)
def test_ids_take_their_string_form_and_info_keeps_its_bytes(channel_data: str, member: PresenceMember) -> None:
    assert decode_member(channel_data, LIMITS) == member


@given(st.text())
def test_any_text_is_a_member_or_refused(text: str) -> None:
    with contextlib.suppress(SubscribeRefusedError):
        assert decode_member(text, LIMITS).user_id


@pytest.mark.parametrize("depth", [10_000, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(SubscribeRefusedError):
        decode_member('{"user_id":1,"user_info":' + "[" * depth + "]" * depth + "}", LIMITS)
