"""Pusher messages: what clients may send, checked; what the server sends, built.

Clients are lenient readers but strict writers are rare: `data` may be an object or a JSON string that holds one, `auth`
may be missing, `channel_data` may be null. Whatever does not fit raises MalformedMessageError and never crashes.

Source: Pusher Channels protocol 7, "Message formats".
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct
from sharedjox_contracts.codec import encode_json, encode_json_text

from .websocket import encode_frame


class MalformedMessageError(Exception):
    """A client message that cannot be understood. The text goes back to the client."""


class ClientMessage(Struct, frozen=True):
    """The envelope of every client message."""

    event: str
    data: Raw = Raw(b"")
    channel: str | None = None


class Position(Struct, frozen=True):
    """A place in a channel's history: everything up to `offset` of `epoch` is behind."""

    epoch: str
    offset: int


class SubscribeData(Struct, frozen=True):
    """`pusher:subscribe`. `recover` is our extension: the position the client has reached."""

    channel: str
    auth: str | None = None
    channel_data: str | None = None
    recover: Any = None


class _PlainSubscribe(Struct, frozen=True):
    """A whole `pusher:subscribe` whose `data` is an object."""

    event: Literal["pusher:subscribe"]
    data: SubscribeData
    channel: str | None = None


class UnsubscribeData(Struct, frozen=True):
    """`pusher:unsubscribe`."""

    channel: str


class SigninData(Struct, frozen=True):
    """`pusher:signin`."""

    auth: str
    user_data: str


_CLIENT_MESSAGE: Final = msgspec.json.Decoder(ClientMessage)
_PLAIN_SUBSCRIBE: Final = msgspec.json.Decoder(_PlainSubscribe)
_SUBSCRIBE: Final = msgspec.json.Decoder(SubscribeData)
_UNSUBSCRIBE: Final = msgspec.json.Decoder(UnsubscribeData)
_SIGNIN: Final = msgspec.json.Decoder(SigninData)
_TEXT: Final = msgspec.json.Decoder(str)


def read_plain_subscribe(payload: bytes) -> SubscribeData | None:
    """A subscribe as pusher-js writes it, read in one go; None for what `decode_client_message` has to look at."""
    if not payload.startswith(b'{"event":"pusher:subscribe"'):
        return None
    try:
        return _PLAIN_SUBSCRIBE.decode(payload).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def decode_client_message(payload: bytes) -> ClientMessage:
    """Read an envelope. Raises: MalformedMessageError (not UTF-8, not JSON, not an object, no event)."""
    try:
        return _CLIENT_MESSAGE.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessageError(f"Invalid message: {error}") from error


def _decode_data(message: ClientMessage, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        raw: bytes | str = bytes(message.data)
        if raw[:1] == b'"':
            raw = _TEXT.decode(raw)
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedMessageError(f"Invalid data of {message.event}: {error}") from error


def decode_subscribe(message: ClientMessage) -> SubscribeData:
    """Raises: MalformedMessageError."""
    data: SubscribeData = _decode_data(message, _SUBSCRIBE)
    return data


def decode_unsubscribe(message: ClientMessage) -> UnsubscribeData:
    """Raises: MalformedMessageError."""
    data: UnsubscribeData = _decode_data(message, _UNSUBSCRIBE)
    return data


def decode_signin(message: ClientMessage) -> SigninData:
    """Raises: MalformedMessageError."""
    data: SigninData = _decode_data(message, _SIGNIN)
    return data


def decode_position(value: Any) -> Position:
    """The `recover` member of a subscribe. Raises: MalformedMessageError."""
    try:
        position = msgspec.convert(value, Position)
    except msgspec.ValidationError as error:
        raise MalformedMessageError(f"Invalid recover: {error}") from error
    if position.offset < 0 or not 0 < len(position.epoch) <= 64:
        raise MalformedMessageError("Invalid recover: epoch or offset out of range")
    return position


# --- what the server sends: complete WebSocket frames -----------------------------------------------------------------

PONG: Final = encode_frame(b'{"event":"pusher:pong","data":"{}"}')
PING: Final = encode_frame(b'{"event":"pusher:ping","data":"{}"}')


def json_frame(message: dict[str, Any]) -> bytes:
    """Any message as a WebSocket text frame."""
    return encode_frame(encode_json(message))


def connection_established(socket_id: str, activity_timeout_seconds: int) -> bytes:
    """The first frame of every connection. `activity_timeout` is in seconds and never 0."""
    data = f'{{\\"socket_id\\":\\"{socket_id}\\",\\"activity_timeout\\":{activity_timeout_seconds}}}'
    return encode_frame(f'{{"event":"pusher:connection_established","data":"{data}"}}'.encode())


def error_frame(code: int | None, message: str) -> bytes:
    """`pusher:error`, whose `data` is an object. `code` null: in band, nothing closes."""
    return json_frame({"event": "pusher:error", "data": {"code": code, "message": message}})


def signin_success(user_data: str) -> bytes:
    """The yes to a sign-in; `user_data` goes back as it came."""
    return json_frame({"event": "pusher:signin_success", "data": {"user_data": user_data}})


def subscription_succeeded(channel: str, data: dict[str, Any]) -> bytes:
    """The acknowledgement of a subscribe; `data` is JSON in a string."""
    return json_frame(
        {"event": "pusher_internal:subscription_succeeded", "data": encode_json_text(data), "channel": channel}
    )


def subscribed_at(channel: str, epoch: str, offset: int) -> bytes:
    """`subscription_succeeded` of a channel of which only the position is told: what nearly all are answered.

    Put together by hand for speed: neither a valid channel name nor an epoch has anything that JSON would escape.
    """
    data = f'{{\\"position\\":{{\\"epoch\\":\\"{epoch}\\",\\"offset\\":{offset}}}}}'
    return encode_frame(
        f'{{"event":"pusher_internal:subscription_succeeded","data":"{data}","channel":"{channel}"}}'.encode()
    )


def subscription_error(channel: str, kind: str, message: str, status: int) -> bytes:
    """A refused subscribe, in the only form that reaches the listeners of Echo's `.error()`."""
    return json_frame(
        {
            "event": "pusher:subscription_error",
            "data": {"type": kind, "error": message, "status": status},
            "channel": channel,
        }
    )


def position_data(epoch: str, offset: int) -> dict[str, Any]:
    """The `position` member of an acknowledgement."""
    return {"epoch": epoch, "offset": offset}
