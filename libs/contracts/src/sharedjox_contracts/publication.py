r"""A publication: what travels from a publisher through Redis to every gateway.

Form: `<offset> <epoch> <header JSON>\n<frame JSON>`. The gateway reads the short header and sends the frame as it is;
offset 0 and epoch `-` mark events that are not durable (client events, presence, counts).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from .redis_layout import HistoryLimits, last_key, live_topic, log_key, meta_key

NOT_DURABLE: Final = 0
NO_EPOCH: Final = "-"


_SHORT_NAMES: Final = {
    "event": "e",
    "event_id": "i",
    "except_socket_id": "s",
    "committed_at_us": "t",
    "traceparent": "p",
    "request_id": "r",
    "presence": "v",
}


class Header(Struct, frozen=True, omit_defaults=True, rename=_SHORT_NAMES, gc=False):
    """What a gateway has to know of an event without reading its frame.

    `committed_at_us`: Unix microseconds when the event was committed (0 = unknown), for the latency histogram.
    `except_socket_id`: the connection that must not get the event (`toOthers`).
    `presence`: `<epoch> <version>` of a change of the member list (see `presence_layout`); the body is its data then.
    """

    event: str
    event_id: str = ""
    except_socket_id: str = ""
    committed_at_us: int = 0
    traceparent: str = ""
    request_id: str = ""
    presence: str = ""


class Publication(Struct, frozen=True, gc=False):
    """A parsed publication. `frame` is the complete Pusher frame, UTF-8 JSON text."""

    offset: int
    epoch: str
    header: Header
    frame: bytes

    @property
    def is_durable(self) -> bool:
        """Whether the event stands in the channel's history."""
        return self.offset != NOT_DURABLE


class MalformedPublicationError(ValueError):
    """Something that is not a publication arrived on a live topic."""


_HEADER_ENCODER: Final = Encoder()
_HEADER_DECODER: Final = Decoder(Header)


def encode_header(header: Header) -> bytes:
    """The header as one line of JSON."""
    return _HEADER_ENCODER.encode(header)


def encode_transient(header: Header, frame: bytes) -> bytes:
    """A publication outside history: delivered to whoever is there now."""
    return b"0 - %s\n%s" % (_HEADER_ENCODER.encode(header), frame)


def decode_publication(message: bytes) -> Publication:
    """Split a message. Raises: MalformedPublicationError."""
    head, newline, frame = message.partition(b"\n")
    try:
        offset, epoch, header = head.split(b" ", 2)
        if not newline:
            raise ValueError("no newline")
        return Publication(int(offset), epoch.decode(), _HEADER_DECODER.decode(header), frame)
    except ValueError as error:
        raise MalformedPublicationError(str(error)) from error


def publish_keys(app_id: str, channel: str) -> list[str]:
    """KEYS of the publish script."""
    return [log_key(app_id, channel), meta_key(app_id, channel), live_topic(app_id, channel), last_key(app_id, channel)]


def publish_arguments(
    *,
    event_id: str,
    opened_frame: bytes,
    header: Header,
    candidate_epoch: str,
    now_ms: int,
    limits: HistoryLimits,
    cache_ms: int = 0,
) -> Sequence[bytes | str | int]:
    """ARGV of the publish script. `candidate_epoch` (random, 8 characters or more): for a channel that has none."""
    return (
        event_id,
        opened_frame,
        encode_header(header),
        candidate_epoch,
        now_ms,
        limits.length,
        limits.age_seconds * 1000,
        limits.meta_seconds * 1000,
        cache_ms,
    )
