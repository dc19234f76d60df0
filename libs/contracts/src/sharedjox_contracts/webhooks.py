"""Webhooks as receivers see them: where they go, what is in them, how they are signed.

Source: Pusher Channels, "Webhooks".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct, field

from .codec import decode_json, encode_json
from .signatures import sign

CHANNEL_OCCUPIED: Final = "channel_occupied"
CHANNEL_VACATED: Final = "channel_vacated"
MEMBER_ADDED: Final = "member_added"
MEMBER_REMOVED: Final = "member_removed"
CLIENT_EVENT: Final = "client_event"
CACHE_MISS: Final = "cache_miss"
SUBSCRIPTION_COUNT: Final = "subscription_count"
WEBHOOK_NAMES: Final = frozenset(
    {
        CHANNEL_OCCUPIED,
        CHANNEL_VACATED,
        MEMBER_ADDED,
        MEMBER_REMOVED,
        CLIENT_EVENT,
        CACHE_MISS,
        SUBSCRIPTION_COUNT,
    }
)
_OWN_HEADERS: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "transfer-encoding", "x-pusher-key", "x-pusher-signature"}
)
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+: [\t\x20-\x7e]*")


class WebhookEndpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """One receiver of an application. `events` empty: all of them. At most `max_events` travel in one request."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s]+$", max_length=2048)]
    events: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    max_events: Annotated[int, Meta(ge=1, le=1000)] = 100

    def __post_init__(self) -> None:
        """Refuse events that no webhook has, and headers that are not the receiver's to choose."""
        if unknown := self.events - WEBHOOK_NAMES:
            msg = f"no such webhook event: {', '.join(sorted(unknown))}"
            raise ValueError(msg)
        for name, value in self.headers.items():
            if name.lower() in _OWN_HEADERS or not _HEADER.fullmatch(f"{name}: {value}"):
                msg = f"a webhook's header {name!r} cannot be set, or holds characters that headers may not hold"
                raise ValueError(msg)

    @property
    def name(self) -> str:
        """Stands for the endpoint in keys and logs; another URL is another endpoint."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]

    def wants(self, name: str) -> bool:
        """Whether this receiver is told of such events."""
        return not self.events or name in self.events


class WebhookApp(Struct, frozen=True):
    """What sending webhooks takes of an application; other members of its entry in APPS_FILE are not read."""

    id: str
    key: str
    secret: str
    enabled: bool = True
    webhooks: tuple[WebhookEndpoint, ...] = ()


def decode_webhook_apps(apps_file: bytes) -> list[WebhookApp]:
    """Read the content of APPS_FILE. Raises: ValueError that says what is wrong."""
    try:
        return decode_json(apps_file, list[WebhookApp])
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def endpoints_from_urls(urls: str) -> tuple[WebhookEndpoint, ...]:
    """WEBHOOK_URLS: receivers of all events, separated by commas. Raises: ValueError that says what is wrong."""
    listed = [url.strip() for url in urls.split(",") if url.strip()]
    try:
        return msgspec.convert([{"url": url} for url in listed], tuple[WebhookEndpoint, ...])
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


class WebhookEvent(Struct, frozen=True, omit_defaults=True):
    """One member of a webhook's `events`. Which fields are there depends on the name."""

    name: str
    channel: str
    user_id: str | None = None
    event: str | None = None
    data: str | None = None
    socket_id: str | None = None
    subscription_count: int | None = None


class _Named(Struct):
    name: str


_NAMED: Final = msgspec.json.Decoder(_Named)


def webhook_event_name(event: bytes) -> str:
    """The name of a queued event (JSON)."""
    return _NAMED.decode(event).name


def webhook_body(time_ms: int, events: Sequence[bytes]) -> bytes:
    """The request body. `time_ms`: when it was made, Unix milliseconds; `events` are JSON, as queued."""
    return encode_json({"time_ms": time_ms, "events": [Raw(event) for event in events]})


def webhook_headers(key: str, secret: str, body: bytes) -> dict[str, str]:
    """The headers that receivers check. The content type is exactly this: official SDKs compare it as text."""
    return {"Content-Type": "application/json", "X-Pusher-Key": key, "X-Pusher-Signature": sign(secret, body)}
