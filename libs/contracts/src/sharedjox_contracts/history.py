"""How much of the past each kind of channel keeps. Worker and gateways must be told the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .channels import ChannelKind, channel_kind
from .redis_layout import CONTROL_CHANNEL, CONTROL_LIMITS, HistoryLimits

KINDS: Final = ("public", "private", "presence", "encrypted", "cache", "user")


def kind_name(channel: str) -> str:
    """Which of KINDS a channel is: by its member list first, then by its cache, then by its encryption."""
    kind = channel_kind(channel)
    if kind.is_presence:
        return "presence"
    if kind.is_cache:
        return "cache"
    if kind.is_encrypted:
        return "encrypted"
    if kind is ChannelKind.SERVER_TO_USER:
        return "user"
    return "private" if kind.needs_signature else "public"


class HistoryPolicy:
    """The limits of every channel: `limits` for all but the kinds named in `by_kind`. Implements `LimitsFor`."""

    def __init__(self, limits: HistoryLimits, by_kind: Mapping[str, HistoryLimits] | None = None) -> None:
        self._limits = limits
        self._by_kind = dict(by_kind or {})

    def __call__(self, channel: str) -> HistoryLimits:
        """What this channel keeps."""
        if channel == CONTROL_CHANNEL:
            return CONTROL_LIMITS
        return self._by_kind.get(kind_name(channel), self._limits) if self._by_kind else self._limits

    @property
    def shortest(self) -> int:
        """Events of the shortest history that any kind of channel has."""
        return min(limits.length for limits in (self._limits, *self._by_kind.values()))

    def settings(self) -> dict[str, str]:
        """The settings that make this policy, by their names; in one form, however they were written."""
        kinds = (f"{kind}={limits.length}/{limits.age_seconds}" for kind, limits in sorted(self._by_kind.items()))
        return {
            "HISTORY_LENGTH": str(self._limits.length),
            "HISTORY_AGE_SECONDS": str(self._limits.age_seconds),
            "HISTORY_META_SECONDS": str(self._limits.meta_seconds),
            "HISTORY_KINDS": ",".join(kinds),
        }


def parse_history_kinds(text: str, limits: HistoryLimits) -> dict[str, HistoryLimits]:
    """Read `presence=100/600,private=5000/86400`: kind = events/seconds. Raises: ValueError that says what is wrong."""
    found: dict[str, HistoryLimits] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, amounts = part.partition("=")
        length, _, age = amounts.partition("/")
        if kind.strip() not in KINDS:
            msg = f"HISTORY_KINDS: {kind.strip()!r} is none of {', '.join(KINDS)}"
            raise ValueError(msg)
        if not (length.strip().isdigit() and age.strip().isdigit() and int(length) > 0 and int(age) > 0):
            msg = f"HISTORY_KINDS: {part!r} is not of the form kind=events/seconds, e.g. {kind.strip()}=1000/3600"
            raise ValueError(msg)
        found[kind.strip()] = HistoryLimits(int(length), int(age), max(limits.meta_seconds, int(age)))
    return found
