"""Webhooks as receivers see them: where they go, what is in them, how they are signed.

Source: Pusher Channels, "Webhooks".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from msgspec import Meta, Raw, Struct, field

from .codec import encode_json
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


class WebhookEndpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """One receiver of an application. `events` empty: all of them. At most `max_events` travel in one request."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s]+$", max_length=2048)]
    events: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    max_events: Annotated[int, Meta(ge=1, le=1000)] = 100

    def __post_init__(self) -> None:
        """Refuse names that no webhook has."""
        if unknown := self.events - WEBHOOK_NAMES:
            msg = f"no such webhook event: {', '.join(sorted(unknown))}"
            raise ValueError(msg)

    def wants(self, name: str) -> bool:
        """Whether this receiver is told of such events."""
        return not self.events or name in self.events


class WebhookEvent(Struct, frozen=True, omit_defaults=True):
    """One member of a webhook's `events`. Which fields are there depends on the name."""

    name: str
    channel: str
    user_id: str | None = None
    event: str | None = None
    data: str | None = None
    socket_id: str | None = None
    subscription_count: int | None = None


def webhook_body(time_ms: int, events: Sequence[bytes]) -> bytes:
    """The request body. `time_ms`: when it was made, Unix milliseconds; `events` are JSON, as queued."""
    return encode_json({"time_ms": time_ms, "events": [Raw(event) for event in events]})


def webhook_headers(key: str, secret: str, body: bytes) -> dict[str, str]:
    """The headers that receivers check. The content type is exactly this: official SDKs compare it as text."""
    return {"Content-Type": "application/json", "X-Pusher-Key": key, "X-Pusher-Signature": sign(secret, body)}
