"""What may be published over the HTTP API: bodies read and checked, whole, before anything is published. No I/O.

Source: Pusher Channels, "HTTP API: POST event, POST batch events".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from sharedjox_contracts.channels import (
    SERVER_TO_USER_PREFIX,
    ChannelKind,
    channel_kind,
    is_valid_channel_name,
    is_valid_socket_id,
)

from sharedjox_gateway.apps import AppLimits

from .exchange import RefusedError

RESERVED_PREFIXES: Final = ("pusher:", "pusher_internal:")
INFO_ATTRIBUTES: Final = ("user_count", "subscription_count", "cache")
MAX_USER_ID_LENGTH: Final = 200
_SHOWN: Final = 200
_EVENT_ID: Final = re.compile(r"[A-Za-z0-9._:\-]{1,64}")
_T = TypeVar("_T")
MAX_REMEMBERED: Final = 2048
MAX_REMEMBERED_LENGTH: Final = 256
"""Longer names are looked at anew each time: what is remembered must not grow with what is sent."""
_remembered_kind: Final = lru_cache(MAX_REMEMBERED)(channel_kind)
_remembered_check: Final = lru_cache(MAX_REMEMBERED)(is_valid_channel_name)


class EventBody(Struct, frozen=True, gc=False):
    """The body of `POST /events`, unchecked; what is missing may be in the query string."""

    name: str | None = None
    data: str | None = None
    channels: list[str] | None = None
    channel: str | None = None
    socket_id: str | None = None
    info: str | list[str] | None = None
    id: str | None = None


class BatchBody(Struct, frozen=True):
    """The body of `POST /batch_events`."""

    batch: list[EventBody]


class Event(Struct, frozen=True, gc=False):
    """A checked event. `channels` are distinct. `event_id` is empty unless the publisher chose one.

    `event_id` is our extension: an event that is sent again with the same one is published once.
    """

    name: str
    data: str
    channels: tuple[str, ...]
    socket_id: str
    info: tuple[str, ...]
    event_id: str


_EVENT: Final = msgspec.json.Decoder(EventBody)
_BATCH: Final = msgspec.json.Decoder(BatchBody)


def read_event(body: bytes, query: Mapping[str, str], limits: AppLimits) -> Event:
    """The event of `POST /events`; parameters may be in the query string, the body wins. Raises: RefusedError."""
    sent = _decode(_EVENT, body) if body else EventBody()
    if sent.name is None or sent.data is None or (sent.channels is None and sent.channel is None):
        sent = _completed(sent, query)
    return check_event(sent, limits)


def read_batch(body: bytes, limits: AppLimits) -> list[Event]:
    """The events of `POST /batch_events`: all are sound, or none is taken. Raises: RefusedError."""
    batch = _decode(_BATCH, body).batch
    if not 0 < len(batch) <= limits.max_batch_events:
        raise RefusedError(400, f"A batch has 1 to {limits.max_batch_events} events, this one {len(batch)}")
    return [check_event(item, limits, f"batch[{number}]: ") for number, item in enumerate(batch)]


def read_channel_event(channel: str, body: bytes, query: Mapping[str, str], limits: AppLimits) -> Event:
    """The deprecated form: the channel is in the path, name and socket_id in the query, the body is the data."""
    try:
        data = body.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(400, "The body is not UTF-8") from error
    sent = EventBody(query.get("name"), data, [channel], None, query.get("socket_id"))
    return check_event(sent, limits)


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        if text.endswith(("$.data`", ".data`")):
            raise RefusedError(
                400, f'"data" must be a string: encode it as JSON before you put it in ({text})'
            ) from error
        raise RefusedError(400, f"Invalid body: {text}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, f"The body is not JSON in UTF-8: {error}") from error


def _completed(sent: EventBody, query: Mapping[str, str]) -> EventBody:
    channels, channel = sent.channels, sent.channel
    if channels is None and channel is None:
        if "channels" in query:
            channels = query["channels"].split(",")
        channel = query.get("channel")
    return EventBody(
        name=_first(sent.name, query.get("name")),
        data=_first(sent.data, query.get("data")),
        channels=channels,
        channel=channel,
        socket_id=_first(sent.socket_id, query.get("socket_id")),
        info=sent.info if sent.info is not None else query.get("info"),
        id=_first(sent.id, query.get("id")),
    )


def _first(one: str | None, other: str | None) -> str | None:
    return other if one is None else one


def check_event(sent: EventBody, limits: AppLimits, where: str = "") -> Event:
    """Check one event against its app's limits. Raises: RefusedError whose text begins with `where`."""
    name = _check_name(sent.name, limits, where)
    data = sent.data
    if data is None:
        raise RefusedError(400, f'{where}The event has no "data" (a string; "" if there is none)')
    if len(data) > limits.max_event_bytes or not data.isascii():
        size = len(data.encode())
        if size > limits.max_event_bytes:
            raise RefusedError(
                413,
                f"{where}The data content of this event exceeds the allowed maximum ({limits.max_event_bytes} bytes):"
                f" it has {size} bytes in UTF-8",
            )
    if sent.socket_id and not is_valid_socket_id(sent.socket_id):
        raise RefusedError(400, f"{where}Invalid socket_id: {sent.socket_id[:_SHOWN]!r} (the form is digits.digits)")
    if sent.id is not None and _EVENT_ID.fullmatch(sent.id) is None:
        raise RefusedError(400, f"{where}Invalid id: 1 to 64 of letters, digits and ._:-")
    channels = _check_channels(sent, limits, where)
    return Event(name, data, channels, sent.socket_id or "", _check_info(sent.info, where), sent.id or "")


def _check_name(name: str | None, limits: AppLimits, where: str) -> str:
    if not name:
        raise RefusedError(400, f'{where}The event has no "name"')
    if len(name) > limits.max_event_name_length:
        raise RefusedError(
            400, f"{where}Event name too long: {len(name)} of at most {limits.max_event_name_length} characters"
        )
    if name.startswith(RESERVED_PREFIXES):
        raise RefusedError(
            400, f'{where}Event names that begin with "pusher:" or "pusher_internal:" are reserved for the protocol'
        )
    return name


def _check_channels(sent: EventBody, limits: AppLimits, where: str) -> tuple[str, ...]:
    channels = sent.channels if sent.channels is not None else [sent.channel] if sent.channel is not None else []
    if len(channels) == 1:
        check_channel_name(channels[0], limits, where)
        return (channels[0],)
    if not 0 < len(channels) <= limits.max_channels_per_event:
        raise RefusedError(
            400, f"{where}An event goes to 1 to {limits.max_channels_per_event} channels, this one to {len(channels)}"
        )
    distinct = tuple(dict.fromkeys(channels))
    for channel in distinct:
        check_channel_name(channel, limits, where)
    if len(distinct) > 1 and any(kind_of(channel).is_encrypted for channel in distinct):
        raise RefusedError(
            400, f"{where}An event for an encrypted channel goes to that channel alone: each has a key of its own"
        )
    return distinct


def kind_of(name: str) -> ChannelKind:
    """`channel_kind`, for names that are published on again and again."""
    return _remembered_kind(name) if len(name) <= MAX_REMEMBERED_LENGTH else channel_kind(name)


def check_channel_name(name: str, limits: AppLimits, where: str = "") -> ChannelKind:
    """The kind of a channel that may be published on. Raises: RefusedError (400)."""
    kind = kind_of(name)
    longest = limits.max_channel_name_length
    if kind is ChannelKind.SERVER_TO_USER:
        longest = len(SERVER_TO_USER_PREFIX) + MAX_USER_ID_LENGTH
    if len(name) > longest or not _remembered_check(name, max_length=longest):
        reason = (
            f"{len(name)} of at most {longest} characters"
            if len(name) > longest
            else "letters, digits and _-=@,.; are allowed"
        )
        raise RefusedError(400, f"{where}Invalid channel name {name[:_SHOWN]!r}: {reason}")
    return kind


def _check_info(info: str | list[str] | None, where: str) -> tuple[str, ...]:
    if not info:
        return ()
    return read_info(",".join(info) if isinstance(info, list) else info, where)


def read_info(info: str, where: str = "") -> tuple[str, ...]:
    """The attributes of an `info` parameter. Raises: RefusedError (400) for an unknown one."""
    attributes = tuple(dict.fromkeys(part.strip() for part in info.split(",") if part.strip()))
    for attribute in attributes:
        if attribute not in INFO_ATTRIBUTES:
            raise RefusedError(
                400, f"{where}Unknown info attribute {attribute[:_SHOWN]!r}: there are {', '.join(INFO_ATTRIBUTES)}"
            )
    return attributes
