"""Pusher's error and close codes: one table with the text we send and what clients do.

Source: Pusher Channels protocol 7, "Error codes"; the client column was run against pusher-js 8.6.
4000-4099 stop for good, 4100-4199 come back after a second, 4200-4299 come back at once, 4300-4399 in band only.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

PUSHER_CODES: Final = range(4000, 5000)
"""What the protocol may close with."""


class PusherError(Enum):
    """(code, text). Members named for what happened."""

    TLS_ONLY = (4000, "Application only accepts TLS connections, reconnect using wss://")
    UNKNOWN_APP = (4001, "Application does not exist")
    APP_DISABLED = (4003, "Application disabled")
    OVER_QUOTA = (4004, "Application is over connection quota")
    PATH_NOT_FOUND = (4005, "Path not found")
    BAD_VERSION = (4006, "Invalid version string format")
    UNSUPPORTED_PROTOCOL = (4007, "Unsupported protocol version")
    NO_PROTOCOL = (4008, "No protocol version supplied")
    UNAUTHORIZED = (4009, "Connection is unauthorized")
    ORIGIN_NOT_ALLOWED = (4009, "Origin not allowed")
    OVER_CAPACITY = (4100, "Over capacity, please try again")
    SLOW_CONSUMER = (4100, "Connection is too slow, please reconnect")
    RECONNECT = (4200, "Please reconnect immediately")
    PONG_TIMEOUT = (4201, "Pong reply not received in time")
    IDLE_TOO_LONG = (4202, "Connection closed after its longest life, please reconnect")
    CLIENT_EVENT_RATE = (4301, "Client event rejected: rate limit exceeded")
    CLIENT_EVENT_REJECTED = (4301, "Client event rejected")
    WATCHLIST_TOO_LONG = (4302, "Watchlist is limited to 100 users")

    @property
    def code(self) -> int:
        """The number on the wire."""
        return self.value[0]

    @property
    def text(self) -> str:
        """The message on the wire."""
        return self.value[1]
