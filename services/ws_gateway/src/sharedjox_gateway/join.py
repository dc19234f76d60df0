"""A join: a subscribe whose signature was checked, on its way to its acknowledgement, and who takes part in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct
from sharedjox_contracts.publication import Publication

from .connection.connection import Connection
from .history import Replay
from .hub.channel import Channel
from .presence.member import PresenceMember
from .protocol.messages import Position


class Join(Struct, frozen=True, eq=False):
    """A subscribe whose signature was checked."""

    connection: Connection
    channel: Channel
    recover: Position | None = None
    client_id: str | None = None
    """Names the browser tab of a stock client, whose position the gateway remembers."""
    member: PresenceMember | None = None
    """As whom the connection joins; always there on presence channels."""
    welcome: Callable[[], bytes] | None = None
    """Makes the frames that answer instead of an acknowledgement."""


class Moment(Struct, frozen=True):
    """A join at the moment of its acknowledgement: the channel stands at `epoch`, `offset` and `replay` leads there.

    `is_first` is False when the connection was a member already and is only acknowledged again.
    """

    replay: Replay
    epoch: str
    offset: int
    is_first: bool


Frames = bytes | Callable[[Moment], bytes]
"""Frames to send behind an acknowledgement: known beforehand, or made at its moment."""


class Preparation(Protocol):
    """What a kind of channel adds to a join: presence rosters, cached events."""

    def prepare(self, join: Join, ready: Callable[[dict[str, Any], Frames], None]) -> None:
        """Call `ready` once, now or later, with members for the acknowledgement's data and frames to send after it."""
        ...


class RosterKeeper(Protocol):
    """Who is on the presence channels. Hears everything about those channels and only those."""

    def acknowledgement(self, channel: Channel) -> dict[str, Any]:
        """Members for the data of an acknowledgement that is sent now."""
        ...

    def published(self, channel: Channel, publication: Publication) -> None:
        """A change of the members was announced."""
        ...

    def reopened(self, channel: Channel) -> None:
        """The broker listens again after an outage."""
        ...

    def left(self, connection: Connection, channel: Channel) -> None:
        """A connection left, or gave up joining."""
        ...

    def closed(self, channel: Channel) -> None:
        """The broker listens no more."""
        ...

    def is_awaited(self, channel: Channel) -> bool:
        """Whether somebody is on the channel or waits to be let in."""
        ...
