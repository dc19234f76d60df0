"""Exact JSON, amounts and cursors."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_api.http.answers import decode_cursor, encode_cursor
from sharedjox_api.http.errors import InvalidCursorProblem, MalformedJsonProblem
from sharedjox_api.http.json_body import parse_amount, parse_json
from sharedjox_contracts.codec import encode_json, money_from_cents


@pytest.mark.parametrize(
    "body", [b"", b"{", b"NaN", b"[Infinity]", b"[-Infinity]", b"\xff", b"[1,]", b"{'a':1}", b"[" * 100_000, b"01"]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedJsonProblem):
        parse_json(body)


def test_numbers_are_exact() -> None:
    parsed = parse_json(b"[0.1, 1e2, 5, 12345678901234567890123456789012345678901234567890]")
    assert parsed[:3] == [Decimal("0.1"), Decimal("1e2"), 5]
    assert [type(number) for number in parsed] == [Decimal, Decimal, int, Decimal]


@pytest.mark.parametrize("value", [True, "1", None, [], 0, -1, Decimal("0.001"), Decimal("NaN"), Decimal("Infinity")])
def test_what_is_no_amount_is_refused(value: object) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        parse_amount(value)


@given(st.integers(1, 100_000_000))
def test_amounts_survive_the_journey(cents: int) -> None:
    assert parse_amount(parse_json(encode_json(money_from_cents(cents)))) == cents


@given(st.integers(1, 2**63 - 1))
def test_cursors_survive_the_journey(last_id: int) -> None:
    assert decode_cursor(encode_cursor(last_id)) == last_id


@given(st.text(max_size=60))
def test_other_cursors_are_refused(text: str) -> None:
    try:
        found = decode_cursor(text)
    except InvalidCursorProblem:
        return
    assert found is not None
    assert found > 0
