"""What the gateway asks of a broker, and what a broker tells the gateway. No Redis here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct
from sharedjox_contracts.control import Command
from sharedjox_contracts.publication import Publication

from sharedjox_gateway.protocol.messages import Position

from .durable import DurableEvent, PublishHandler


class HistoryPage(Struct, frozen=True):
    """Publications of one channel in order, and the channel's position when they were read.

    The page is whole when it begins at the offset after the one asked for (or is empty and `offset` is that one);
    otherwise history no longer reaches back that far.
    """

    epoch: str
    offset: int
    publications: Sequence[Publication]


class BrokerListener(Protocol):
    """Hears the broker. Called on the event loop, never concurrently; must not raise."""

    def opened(self, app_id: str, channel: str, epoch: str, offset: int) -> None:
        """The broker listens for this channel, and this was its position at or after that moment.

        Comes once for each `open`, and again for every open channel after a lost connection was restored.
        """
        ...

    def published(self, app_id: str, channel: str, publication: Publication) -> None:
        """A publication arrived on an open channel."""
        ...

    def commanded(self, app_id: str, command: Command) -> None:
        """A control command arrived."""
        ...


class Broker(Protocol):
    """Publish and subscribe with history."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker answers now."""
        ...

    def open(self, app_id: str, channel: str) -> None:
        """Begin to listen for a channel; `opened` follows, after an outage too."""
        ...

    def close(self, app_id: str, channel: str) -> None:
        """Stop listening for a channel."""
        ...

    def read_history(self, app_id: str, channel: str, after: int, done: Callable[[HistoryPage | None], None]) -> None:
        """Read what follows offset `after`; `done` gets None when the broker is away."""
        ...

    def save_position(self, app_id: str, channel: str, client_id: str, position: Position) -> None:
        """Remember where a client is, for as long as history can help it."""
        ...

    def load_position(self, app_id: str, channel: str, client_id: str, done: Callable[[Position | None], None]) -> None:
        """Recall where a client was; `done` gets None when that is not known. An outage is waited out."""
        ...

    def forget_position(self, app_id: str, channel: str, client_id: str) -> None:
        """Forget where a client was."""
        ...

    def read_denial(self, app_id: str, channel: str, socket_id: str, done: Callable[[bool], None]) -> None:
        """Whether a revocation of this channel for this connection still stands. An outage is waited out."""
        ...

    def renew_epoch(self, app_id: str, channel: str, epoch: str, offset: int) -> None:
        """Begin the channel's history anew if it is still in `epoch` and before `offset`; `opened` follows.

        For a Redis that came back without its newest writes: the offsets it lost must not be given to other events.
        """
        ...

    def publish_durable(
        self, app_id: str, channel: str, events: Sequence[DurableEvent], cache_ms: int, done: PublishHandler
    ) -> None:
        """Append events to a channel's history and announce them: all or none, in this order, each id once.

        `cache_ms`: how long the last one is kept for newcomers; 0 = not a cache channel. `done` hears the outcome,
        never before this call returns.
        """
        ...

    def publish_transient(self, app_id: str, channel: str, message: bytes) -> bool:
        """Announce an encoded publication that is not durable; False when the broker is away and it was dropped."""
        ...
