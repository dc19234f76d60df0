"""Path and query parameters that many calls share."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

from fastapi import Path, Query, Request
from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from sharedjox_marketplace.orm import BIGINT_MAX

from .answers import DEFAULT_PAGE, MAX_PAGE
from .errors import MalformedHeaderProblem
from .json_body import MAX_AMOUNT, parse_amount, storable

_MAX_AMOUNT_DIGITS: Final = 20

JobId = Annotated[int, Path(alias="id", ge=1, le=BIGINT_MAX, examples=[1])]
RowId = Annotated[int, Path(alias="id", ge=1, le=BIGINT_MAX, examples=[1])]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many; 20 unless told.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`nextCursor` of the page before.")]
PAGE: Final = DEFAULT_PAGE


def _amount_from_text(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > _MAX_AMOUNT_DIGITS:
        msg = "must be a number"
        raise ValueError(msg)
    try:
        return parse_amount(Decimal(value))
    except InvalidOperation as error:
        msg = "must be a number"
        raise ValueError(msg) from error


AmountText = Annotated[
    int,
    BeforeValidator(_amount_from_text),
    WithJsonSchema({"type": "number", "minimum": 0.01, "maximum": int(MAX_AMOUNT)}),
]
"""An amount in a query string; cents inside."""

SearchText = Annotated[str, AfterValidator(storable)]


def expected_version(request: Request) -> int | None:
    """The version in `If-Match`; None when there is none or any version will do.

    Raises: MalformedHeaderProblem.
    """
    given = request.headers.get("if-match", "").strip()
    if given in ("", "*"):
        return None
    tag = given.removeprefix("W/")
    number = tag[1:-1] if len(tag) > 2 and tag[0] == tag[-1] == '"' else ""
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise MalformedHeaderProblem('If-Match takes the ETag of the job, for example "3"')
    return int(number)
