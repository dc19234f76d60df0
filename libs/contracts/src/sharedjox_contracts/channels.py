"""Channel names: how they are built, parsed and classified. Nothing else in the tree spells a prefix.

Source: docs/protocol.md (Pusher Channels, "Channel naming conventions") and SPEC section 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

JOBS_DISCOVERY: Final = "jobs.discovery"
OPERATIONS: Final = "private-ops"
SERVER_TO_USER_PREFIX: Final = "#server-to-user-"

MAX_CHANNEL_NAME_LENGTH: Final = 200
"""Characters. Pusher's page says 164, every official SDK enforces 200; the larger one locks nobody out."""

# fullmatch, never match with `$`: in Python `$` also matches before a final newline.
_NAME = re.compile(r"[A-Za-z0-9_\-=@,.;]+")
_SOCKET_ID = re.compile(r"[0-9]+\.[0-9]+")
_PARAMETERISED = re.compile(r"(?P<prefix>private|presence)-(?P<topic>job|user)\.(?P<number>[1-9][0-9]{0,18})")


class ChannelKind(Enum):
    """What a channel's prefix promises. The order of the members is the order of matching."""

    PRIVATE_ENCRYPTED_CACHE = "private-encrypted-cache-"
    PRIVATE_ENCRYPTED = "private-encrypted-"
    PRIVATE_CACHE = "private-cache-"
    PRIVATE = "private-"
    PRESENCE_CACHE = "presence-cache-"
    PRESENCE = "presence-"
    CACHE = "cache-"
    SERVER_TO_USER = SERVER_TO_USER_PREFIX
    PUBLIC = ""

    def __init__(self, prefix: str) -> None:
        # Plain attributes, because properties of an Enum cost a microsecond and these are asked for on every subscribe.
        self.is_presence: Final = prefix.startswith("presence-")
        """Whether the channel has a member list."""
        self.is_cache: Final = prefix.endswith("cache-")
        """Whether the channel remembers its last event for newcomers."""
        self.is_encrypted: Final = "-encrypted-" in prefix
        """Whether payloads are end-to-end encrypted, so that the gateway cannot read them."""
        self.needs_signature: Final = prefix.startswith(("private-", "presence-"))
        """Whether subscribing takes a signature from the application's auth endpoint."""
        self.allows_client_events: Final = self.needs_signature and not self.is_encrypted
        """Whether subscribers may send `client-*` events (private and presence, never encrypted)."""


_KINDS: Final = {kind.value: kind for kind in ChannelKind if kind.value}
_PREFIX: Final = re.compile("|".join(map(re.escape, _KINDS)))


def channel_kind(name: str) -> ChannelKind:
    """Classify a channel by its prefix; the dash counts (`privatefoo` is public)."""
    found = _PREFIX.match(name)
    return ChannelKind.PUBLIC if found is None else _KINDS[found[0]]


def is_valid_channel_name(name: str, *, max_length: int = MAX_CHANNEL_NAME_LENGTH) -> bool:
    """Whether `name` may be subscribed to or published on; `#` only leads the reserved server-to-user form."""
    if not 0 < len(name) <= max_length:
        return False
    if name.startswith(SERVER_TO_USER_PREFIX):
        return _NAME.fullmatch(name, len(SERVER_TO_USER_PREFIX)) is not None
    return _NAME.fullmatch(name) is not None


def is_valid_socket_id(socket_id: str) -> bool:
    """Whether `socket_id` is `digits.digits`; anything else could smuggle text into a string that gets signed."""
    return _SOCKET_ID.fullmatch(socket_id) is not None


def private_job(job_id: int) -> str:
    """The channel of a job's two parties."""
    return f"private-job.{job_id}"


def presence_job(job_id: int) -> str:
    """The channel that shows who is viewing a job."""
    return f"presence-job.{job_id}"


def private_user(user_id: int) -> str:
    """A user's own channel."""
    return f"private-user.{user_id}"


def server_to_user(user_id: str) -> str:
    """The reserved channel of one signed-in user (protocol: "server to user")."""
    return f"{SERVER_TO_USER_PREFIX}{user_id}"


@dataclass(frozen=True, slots=True)
class MarketplaceChannel:
    """A parsed `private-job.7`, `presence-job.7` or `private-user.3`."""

    prefix: str
    topic: str
    number: int


def parse_marketplace_channel(name: str) -> MarketplaceChannel | None:
    """Take a job or user channel apart; None for every other name (leading zeros and signs included)."""
    found = _PARAMETERISED.fullmatch(name)
    if found is None:
        return None
    return MarketplaceChannel(found["prefix"], found["topic"], int(found["number"]))
