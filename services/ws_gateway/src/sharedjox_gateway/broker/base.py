"""What the gateway asks of a broker, and what a broker tells the gateway. No Redis here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct
from sharedjox_contracts.control import Command
from sharedjox_contracts.publication import Publication

from sharedjox_gateway.hub.channel import Arrival
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


class Place(Struct, frozen=True):
    """Where a listener stands in a channel: the newest event that it has, by number and by name.

    The name tells apart what two lives of a Redis gave the same number. Empty when it is not known.
    """

    epoch: str = ""
    offset: int = 0
    event_id: str = ""


NOWHERE: Final = Place()


class BrokerListener(Protocol):
    """Hears the broker. Called on the event loop, never concurrently; must not raise."""

    def place(self, app_id: str, channel: str) -> Place:
        """Where the listener stands; NOWHERE before the first `opened`."""
        ...

    def opened(self, app_id: str, channel: str, place: Place, *, reaches: bool) -> None:
        """The broker listens for this channel, and this was its place at or after that moment.

        Comes once for each `open`, and again for every open channel after a lost connection was restored. When Redis
        no longer has what the listener had, the place is in another epoch. `reaches` is False when history has been
        cut since, so that nobody can tell whether what follows is all there was.
        """
        ...

    def published(self, app_id: str, channel: str, publication: Publication) -> None:
        """A publication arrived on an open channel."""
        ...

    def commanded(self, app_id: str, command: Command) -> None:
        """A control command arrived."""
        ...


class ChannelListener(BrokerListener, Protocol):
    """Hears the channels of clients, which are opened with a target."""

    def arrived(self, arrivals: list[Arrival]) -> None:
        """Events arrived that have nothing special about them, in order; what `published` would be told one by one.

        Not of channels that were opened without a target.
        """
        ...


class Broker(Protocol):
    """Publish and subscribe with history."""

    @property
    def is_connected(self) -> bool:
        """Whether every part of the broker answers now."""
        ...

    def open(self, app_id: str, channel: str, listener: BrokerListener | None = None, *, target: object = None) -> None:
        """Begin to listen for a channel; `opened` follows, after an outage too.

        `listener`: another than the usual. `target`: what stands for the channel in what the usual one is told has
        `arrived`.
        """
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
        """Recall where a client was. An outage is waited out.

        `done` gets None when that is not known, and a place in no history when it may have been known to a Redis that
        was restarted since: a new client is then told of a loss that it did not have, but no old one is left in error.
        """
        ...

    def forget_position(self, app_id: str, channel: str, client_id: str) -> None:
        """Forget where a client was."""
        ...

    def read_denial(self, app_id: str, channel: str, socket_id: str, done: Callable[[bool], None]) -> None:
        """Whether a revocation of this channel for this connection still stands. An outage is waited out."""
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
