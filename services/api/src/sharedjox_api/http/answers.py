"""Answers: msgspec structs with camelCase names, encoded with exact numbers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Protocol, TypeVar

from fastapi import Response
from msgspec import Meta, Struct
from sharedjox_contracts.codec import encode_json
from sharedjox_marketplace.idempotency import StoredAnswer
from sharedjox_marketplace.orm import BIGINT_MAX

from .errors import InvalidCursorProblem

JSON: Final = "application/json"
DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 100

Money = Annotated[Decimal, Meta(description="A JSON number with at most two decimals.")]
Id = Annotated[int, Meta(ge=1)]


class Answer(Struct, frozen=True, rename="camel"):
    """Base of all answers."""


class HasId(Protocol):
    """A row with a numeric key."""

    @property
    def id(self) -> int:
        """The key."""
        ...


_Row = TypeVar("_Row", bound=HasId)


def json_response(answer: Any, status: int = 200, *, headers: dict[str, str] | None = None) -> Response:
    """An answer as it goes out."""
    return Response(encode_json(answer), status, media_type=JSON, headers=headers)


def stored(answer: Any, status: int = 200, *, etag: str | None = None) -> StoredAnswer:
    """An answer that can be kept beside its idempotency key. None: no content."""
    return StoredAnswer(
        status, JSON if answer is not None else "", encode_json(answer) if answer is not None else b"", etag
    )


def response_of(answer: StoredAnswer, *, replayed: bool = False) -> Response:
    """The HTTP answer of a stored one; `Idempotent-Replayed` says that it is not the first time."""
    headers = {}
    if answer.etag:
        headers["ETag"] = answer.etag
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(answer.body, answer.status, media_type=answer.content_type or None, headers=headers)


def page_response(rows: Sequence[_Row], limit: int, shape: Callable[[_Row], Answer]) -> Response:
    """A page of a list. `rows` has one more than `limit` when there is a next page."""
    shown = rows[:limit]
    cursor = encode_cursor(shown[-1].id) if len(rows) > limit else None
    return json_response({"items": [shape(row) for row in shown], "nextCursor": cursor})


def encode_cursor(last_id: int) -> str:
    """Opaque to callers; they get it, they give it back."""
    return base64.urlsafe_b64encode(f"1:{last_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> int | None:
    """The id after which the page starts. Raises: InvalidCursorProblem."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise InvalidCursorProblem("take the cursor from nextCursor of the page before") from error
    version, _, number = text.partition(":")
    if version != "1" or not (number.isascii() and number.isdigit()) or not 0 < int(number[:20]) <= BIGINT_MAX:
        raise InvalidCursorProblem("take the cursor from nextCursor of the page before")
    return int(number)
