"""One channel of one application as this process knows it: its members here, and how far its history was received."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct
from sharedjox_contracts.channels import ChannelKind, channel_kind
from sharedjox_contracts.publication import Publication


class Member(Protocol):
    """A connection as the hub sees it."""

    socket_id: str
    offer: Callable[[bytes | memoryview], object]
    """Takes WebSocket frames, or the rest of some whose beginning was sent. Never blocks, never raises; what it cannot
    send at once it buffers, bounded."""


class Delivery(Struct, frozen=True, gc=False):
    """One event on its way to the members of a channel. `frame` is the complete WebSocket frame, shared by all.

    `offset` is its place in history, 0 for what is not durable. `traceparent` and `taken_at_ns` (Unix nanoseconds) are
    for its trace.
    """

    frame: bytes
    event: str
    except_socket_id: str = ""
    committed_at_us: int = 0
    offset: int = 0
    traceparent: str = ""
    taken_at_ns: int = 0


Arrival = tuple[Any, int, str, str, str, int, bytes]
"""An event with nothing special about it, as it came: what was named as the target when its channel was opened, offset
(0 = not durable), epoch, name, id, Unix microseconds of its commit (0 = unknown), complete WebSocket frame."""


class FanoutPass(Protocol):
    """A walk over the members that is under way."""

    @property
    def deliveries(self) -> list[Delivery]:
        """What has not reached all of them, the oldest first."""
        ...


class Channel:
    """Members, pending deliveries and position.

    `sequence` counts the deliveries this process has taken for the channel. A member's value in `members` is the
    sequence at which it joined: it gets deliveries with a higher number, and only those. Values ascend in insertion
    order, because a member that joins again is inserted anew.
    """

    __slots__ = (
        "_listed",
        "_walks_forward",
        "app_id",
        "epoch",
        "fanout",
        "held",
        "is_open",
        "is_queued",
        "kind",
        "last_join",
        "members",
        "name",
        "newest",
        "newest_id",
        "offset",
        "pending",
        "sequence",
        "version",
    )

    def __init__(self, app_id: str, name: str) -> None:
        self.app_id = app_id
        self.name = name
        self.kind: ChannelKind = channel_kind(name)
        self.members: dict[Member, int] = {}
        self.sequence = 0
        self.last_join = -1
        self.version = 0
        self._listed: list[Member] | None = None
        self._walks_forward = False
        self.pending: list[Delivery] | tuple[()] = ()  # a list of its own only while something waits
        self.newest: Delivery | None = None
        """Cache channels only: the last durable event that was taken here."""
        self.fanout: FanoutPass | None = None
        self.is_queued = False
        self.is_open = False
        """Whether the broker listens for this channel and its position is known."""
        self.epoch = ""
        self.offset = 0
        self.newest_id = ""
        """Id of the event at `offset`; empty when it is not known."""
        self.held: list[Publication] | None = None
        """Publications that wait until the ones before them were fetched from history; None when nothing is missing."""

    def add(self, member: Member) -> None:
        """Let `member` have every delivery from now on."""
        self.members.pop(member, None)
        self.members[member] = self.last_join = self.sequence
        self.version += 1
        self._listed = None

    def discard(self, member: Member) -> bool:
        """Take `member` out, at once, also in the middle of a fan-out; returns whether it was there."""
        if self.members.pop(member, None) is None:
            return False
        self.version += 1
        self._listed = None
        return True

    def walked(self, *, newcomers: int = 0) -> list[Member]:
        """The members in the order in which they are served next, without so many that joined last.

        By turns that is the order in which they joined and the opposite one: a walk begins with those who were served
        last, whose connections are still in the processor's caches. Those of ten thousand do not fit into them; in the
        same order each time, every one would have been pushed out by the others before its turn comes.

        To be called once per walk: it is one list until somebody joins or leaves, which the next call turns around.
        Making it touches every member, which for one event to thousands is time before the first is served.
        """
        self._walks_forward = not self._walks_forward
        if self._listed is None:
            self._listed = list(self.members)
            if not self._walks_forward:
                self._listed.reverse()
        else:
            self._listed.reverse()
        if not newcomers:
            return self._listed
        return self._listed[:-newcomers] if self._walks_forward else self._listed[newcomers:]

    def served_offset(self) -> int:
        """The offset up to which every member has been served: behind `offset` while deliveries are under way."""
        under_way = [*(self.fanout.deliveries if self.fanout else ()), *self.pending]
        return next((delivery.offset - 1 for delivery in under_way if delivery.offset), self.offset)

    def advance(self, epoch: str, offset: int, newest_id: str) -> None:
        """Move the position: everything up to `offset`, where the event `newest_id` is, was taken."""
        self.epoch = epoch
        self.offset = offset
        self.newest_id = newest_id
        self.newest = None
