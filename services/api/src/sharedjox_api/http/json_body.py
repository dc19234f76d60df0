"""Reading JSON bodies exactly: amounts become decimals from their own digits, and nothing odd gets through."""

from __future__ import annotations

import decimal
import json
import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator, StringConstraints, WithJsonSchema
from pydantic.alias_generators import to_camel
from sharedjox_contracts.codec import cents_from_money
from sharedjox_marketplace.wallet.rules import MAX_AMOUNT_CENTS

from .errors import MalformedJsonProblem

_MAX_INTEGER_DIGITS: Final = 25
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_CENT: Final = Decimal("0.01")
MAX_AMOUNT: Final = Decimal(MAX_AMOUNT_CENTS) / 100


def parse_json(body: bytes) -> Any:
    """Parse a body. Numbers with a point or an exponent, and endless integers, become Decimals.

    Raises: MalformedJsonProblem for anything that RFC 8259 does not allow, NaN and Infinity among it.
    """
    try:
        return json.loads(
            body.decode("utf-8"), parse_float=Decimal, parse_int=_parse_integer, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise MalformedJsonProblem("the body is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise MalformedJsonProblem(f"{error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise MalformedJsonProblem("the body is nested too deeply") from error
    except (decimal.DecimalException, ValueError) as error:
        raise MalformedJsonProblem("the body has a number that cannot be read") from error


def _parse_integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else Decimal(digits)


def _refuse_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not JSON", name, 0)


def storable(text: str) -> str:
    """Postgres stores neither NUL nor half a surrogate pair."""
    if _UNSTORABLE.search(text):
        msg = "has characters that cannot be stored (NUL or a lone surrogate)"
        raise ValueError(msg)
    return text


def parse_amount(value: Any) -> int:
    """An amount in cents."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        msg = "must be a number"
        raise ValueError(msg)
    amount = Decimal(value)
    if not _CENT <= amount <= MAX_AMOUNT:
        msg = f"must be from 0.01 to {MAX_AMOUNT:.2f}"
        raise ValueError(msg)
    if amount != amount.quantize(_CENT):
        msg = "must have two decimals at most"
        raise ValueError(msg)
    return cents_from_money(amount.quantize(_CENT))


AMOUNT_SCHEMA: Final[dict[str, Any]] = {
    "type": "number",
    "minimum": 0.01,
    "maximum": int(MAX_AMOUNT),
    "multipleOf": 0.01,
    "description": "An amount of money with two decimals at most.",
}

Amount = Annotated[int, PlainValidator(parse_amount), WithJsonSchema(AMOUNT_SCHEMA)]
"""A JSON number with two decimals at most; cents inside."""

StorableText = Annotated[str, AfterValidator(storable)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(storable)]
"""Text that has something in it."""


class Body(BaseModel):
    """Base of request bodies: camelCase names, no conversion between types; unknown members are ignored."""

    model_config = ConfigDict(
        strict=True, alias_generator=to_camel, populate_by_name=False, extra="ignore", frozen=True
    )
