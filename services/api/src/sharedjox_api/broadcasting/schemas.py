"""Reading what Pusher clients send to their auth endpoints, and the answers they want."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import Request
from msgspec import UNSET, UnsetType
from sharedjox_contracts.channels import is_valid_channel_name, is_valid_socket_id

from sharedjox_api.http.answers import Answer
from sharedjox_api.http.errors import UnsupportedMediaTypeProblem, ValidationProblem
from sharedjox_api.http.json_body import parse_json

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 20
_MAX_SOCKET_ID_LENGTH: Final = 64
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_\-]{1,64}")


class ChannelAuthAnswer(Answer, frozen=True, rename=None):
    """`auth` is `key:signature`; `channel_data` comes with presence channels, and when a `client_id` was sent."""

    auth: str
    channel_data: str | UnsetType = UNSET


class UserAuthAnswer(Answer, frozen=True, rename=None):
    """`user_data` is JSON text; the signature covers its exact bytes."""

    auth: str
    user_data: str


async def read_fields(request: Request) -> dict[str, str]:
    """The body's fields, form-encoded (what pusher-js sends) or JSON. Values that are no strings are left out.

    Raises: UnsupportedMediaTypeProblem, MalformedJsonProblem.
    """
    body = await request.body()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        parsed = parse_json(body) if body else {}
        return (
            {key: value for key, value in parsed.items() if isinstance(value, str)}
            if isinstance(parsed, Mapping)
            else {}
        )
    if media_type not in (_FORM, "") or (media_type == "" and body):
        raise UnsupportedMediaTypeProblem(f"this call reads {_FORM} and application/json")
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=_MAX_FIELDS, errors="strict"))
    except ValueError as error:
        raise ValidationProblem("the form cannot be read", errors=[]) from error


def required_socket_id(fields: Mapping[str, str]) -> str:
    """Raises: ValidationProblem. Anything but digits could smuggle text into the string that is signed."""
    socket_id = fields.get("socket_id", "")
    if len(socket_id) > _MAX_SOCKET_ID_LENGTH or not is_valid_socket_id(socket_id):
        raise _invalid("socket_id", "must be the connection's socket id, for example 123.456")
    return socket_id


def required_channel(fields: Mapping[str, str]) -> str:
    """Raises: ValidationProblem."""
    channel = fields.get("channel_name", "")
    if not is_valid_channel_name(channel):
        raise _invalid("channel_name", "must be a channel name: letters, digits and _-=@,.; up to 200")
    return channel


def optional_client_id(fields: Mapping[str, str]) -> str | None:
    """Raises: ValidationProblem."""
    client_id = fields.get("client_id")
    if client_id is not None and not _CLIENT_ID.fullmatch(client_id):
        raise _invalid("client_id", "takes letters, digits, _ and -, up to 64")
    return client_id


def _invalid(field: str, message: str) -> ValidationProblem:
    return ValidationProblem(f"body.{field}: {message}", errors=[{"field": f"body.{field}", "message": message}])


def _body(*, channel: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "socket_id": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+$", "maxLength": _MAX_SOCKET_ID_LENGTH}
    }
    if channel:
        properties["channel_name"] = {"type": "string", "pattern": r"^[A-Za-z0-9_\-=@,.;]+$", "maxLength": 200}
        properties["client_id"] = {"type": "string", "pattern": r"^[A-Za-z0-9_\-]{1,64}$"}
    required = ["socket_id", "channel_name"] if channel else ["socket_id"]
    schema = {"type": "object", "required": required, "properties": properties}
    return {
        "requestBody": {
            "required": True,
            "content": {_FORM: {"schema": schema}, "application/json": {"schema": schema}},
        }
    }


CHANNEL_BODY: Final = _body(channel=True)
USER_BODY: Final = _body(channel=False)
