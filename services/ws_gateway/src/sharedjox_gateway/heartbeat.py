"""Time limits of all connections by one timer: silence, handshakes, closing grace, longest life.

A timer per connection would cost memory and loop time for each of tens of thousands. Instead the connections are walked
once per ping interval, a part of them every tick: whoever said nothing since the last visit is pinged, whoever still
says nothing at the next one is closed with 4201.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .connection.connection import Connection
from .connection.entry import Entry
from .protocol.close_codes import PusherError

TICK_SECONDS: Final = 0.5


class Heartbeat:
    """Call `tick` every TICK_SECONDS with the loop's time."""

    def __init__(
        self,
        connections: dict[str, Connection],
        *,
        ping_interval_seconds: float,
        handshake_timeout_seconds: float,
        close_timeout_seconds: float,
        lifetime_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._connections = connections
        self._ticks_per_round = max(1, round(ping_interval_seconds / TICK_SECONDS))
        self._handshake_timeout = handshake_timeout_seconds
        self._close_timeout = close_timeout_seconds
        self._lifetime = lifetime_seconds
        self._now = now
        self._round: list[Connection] = []
        self._share = 0
        self._ticks_left = 0
        """A round takes its time also when few connections are visited sooner: nobody is visited twice in it."""
        self.entries: dict[Entry, float] = {}
        self.closing: dict[Connection, float] = {}
        self.all_closed = asyncio.Event()
        self.all_closed.set()

    def entered(self, entry: Entry) -> None:
        """A TCP connection has until the handshake timeout to say what it is."""
        self.entries[entry] = self._now() + self._handshake_timeout

    def closes(self, connection: Connection) -> None:
        """A closing connection has until the close timeout to answer."""
        self.closing[connection] = self._now() + self._close_timeout
        self.all_closed.clear()

    def closed(self, connection: Connection) -> None:
        """The transport is gone."""
        if self.closing.pop(connection, None) is not None and not self.closing:
            self.all_closed.set()

    def tick(self) -> None:
        """One step: expired handshakes and closes, and the next share of the round."""
        now = self._now()
        self._expire_entries(now)
        self._expire_closing(now)
        if self._ticks_left == 0:
            self._ticks_left = self._ticks_per_round
            self._round = list(self._connections.values())
            self._share = -(-len(self._round) // self._ticks_per_round)
        self._ticks_left -= 1
        visited, self._round = self._round[: self._share], self._round[self._share :]
        for connection in visited:
            if not connection.is_closing:
                self._visit(connection, now)

    def _visit(self, connection: Connection, now: float) -> None:
        if now - connection.opened_at > self._lifetime:
            connection.refuse(PusherError.IDLE_TOO_LONG)
        elif connection.is_alive:
            connection.is_alive = False
            connection.is_pinged = False
        elif connection.is_pinged:
            connection.refuse(PusherError.PONG_TIMEOUT)
        else:
            connection.ping()

    def _expire_entries(self, now: float) -> None:
        for entry, deadline in list(self.entries.items()):
            if deadline > now:
                break  # in order of entering, all with the same timeout
            del self.entries[entry]
            if entry.transport is not None:
                entry.transport.abort()

    def _expire_closing(self, now: float) -> None:
        for connection, deadline in list(self.closing.items()):
            if deadline > now:
                break
            self.closed(connection)
            connection.transport.abort()
