import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_contracts.codec import cents_from_money, decode_json, encode_json, encode_json_text, money_from_cents


@given(st.integers(min_value=-(10**17), max_value=10**17))
def test_cents_come_back_from_money_and_from_json(cents: int) -> None:
    money = money_from_cents(cents)
    assert cents_from_money(money) == cents
    assert cents_from_money(decode_json(encode_json(money), Decimal)) == cents


@given(st.integers(min_value=0, max_value=10**17))
def test_json_shows_a_number_with_two_digits(cents: int) -> None:
    text = encode_json_text(money_from_cents(cents))
    assert text == f"{cents // 100}.{cents % 100:02d}"


@pytest.mark.parametrize("amount", ["0.001", "1.999", "NaN", "Infinity", "-Infinity", "1e-3"])
def test_amounts_that_are_no_money(amount: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        cents_from_money(Decimal(amount))


@pytest.mark.parametrize(
    ("amount", "cents"), [("1", 100), ("1.5", 150), ("1.50", 150), ("1E+2", 10_000), ("-0.01", -1)]
)
def test_amounts_in_every_notation(amount: str, cents: int) -> None:
    assert cents_from_money(Decimal(amount)) == cents


def test_times_are_utc_with_z() -> None:
    assert encode_json_text(dt.datetime(2026, 2, 21, 10, tzinfo=dt.UTC)) == '"2026-02-21T10:00:00Z"'


def test_text_is_utf8_not_escapes() -> None:
    assert encode_json("Adèle ✓") == '"Adèle ✓"'.encode()
