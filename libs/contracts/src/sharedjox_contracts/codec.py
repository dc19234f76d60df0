"""The one JSON codec: msgspec with exact decimals, so that money is never a float on its way to the wire."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

_T = TypeVar("_T")
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def encode_json(value: Any) -> bytes:
    """Encode to compact UTF-8 JSON. Decimals become numbers with the digits they have; datetimes RFC 3339."""
    return _ENCODER.encode(value)


def encode_json_text(value: Any) -> str:
    """Like `encode_json`, as text."""
    return _ENCODER.encode(value).decode()


def decode_json(data: bytes | str, kind: type[_T]) -> _T:
    """Decode and validate. Raises: msgspec.ValidationError (wrong shape), msgspec.DecodeError (not JSON)."""
    return msgspec.json.decode(data, type=kind)


def money_from_cents(cents: int) -> Decimal:
    """Cents to a decimal with two digits: 14500 -> 145.00. JSON shows it as a number."""
    return Decimal(cents).scaleb(-2)


def cents_from_money(amount: Decimal) -> int:
    """A decimal amount to cents. Raises: ValueError when it is not finite or has more than two decimals."""
    if not amount.is_finite():
        msg = "an amount must be a finite number"
        raise ValueError(msg)
    cents = amount * 100
    if cents != cents.to_integral_value():
        msg = "an amount has at most two decimals"
        raise ValueError(msg)
    return int(cents)
