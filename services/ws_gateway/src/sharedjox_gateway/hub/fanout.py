"""Handing events to members: encoded once, joined once, in slices.

Source: docs/performance.md. What arrives in one loop turn for a channel is joined into one write per member. A big
channel is served in slices, so that other traffic gets its turn in between; what arrives meanwhile is joined with what
is under way and goes around from there (see `walk`). There is no task, future, lock or await per member.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from .channel import Arrival, Channel, Delivery, Member
from .walk import MAX_JOINED_BYTES, FindMember, Send, Walk, join_frames

SLICE_MEMBERS: Final = 64
"""Members served per loop step: other traffic waits about 1 ms for one during a fan-out to 10,000."""
SMALL_CHANNEL: Final = 8
"""Up to so many members are served without the bookkeeping of a pass."""


class FanoutObserver(Protocol):
    """Hears what was delivered; called once per pass, not per member."""

    def delivered(self, channel: Channel, deliveries: list[Delivery], members: int, size: int) -> None:
        """`members` members were each offered `deliveries`, `size` bytes in all per member."""
        ...

    def delivered_now(self, arrivals: list[Arrival], deliveries: int, size: int) -> None:
        """These events, which are for no trace, were offered `deliveries` times, `size` bytes in all."""
        ...


def offer_to_each(members: list[Member], start: int, stop: int, data: bytes) -> int:
    """The plain `Send`."""
    for member in members[start:stop]:
        member.offer(data)
    return stop


SendEach = Callable[[list[Member], list[bytes]], None]
"""Offers each of some members its own bytes, in this order."""


def offer_each(members: list[Member], pieces: list[bytes]) -> None:
    """The plain `SendEach`."""
    for member, data in zip(members, pieces, strict=True):
        member.offer(data)


class _Gathered:
    """Single events to small channels, the most frequent case of all, which are sent side by side."""

    __slots__ = ("_members", "_pieces", "_served")

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._pieces: list[bytes] = []
        self._served: list[tuple[Channel, list[Delivery], int]] = []

    def take(self, channel: Channel) -> int:
        """Take the one event of a channel; returns for how many members."""
        deliveries, members = channel.pending, channel.members
        assert isinstance(deliveries, list)  # noqa: S101 - `_is_single`
        channel.pending = ()
        self._members += members
        self._pieces += [deliveries[0].frame] * len(members)
        self._served.append((channel, deliveries, len(members)))
        return len(members)

    def send(self, send_each: SendEach, observer: FanoutObserver) -> None:
        """Send what was taken."""
        if not self._served:
            return
        send_each(self._members, self._pieces)
        for channel, deliveries, count in self._served:
            observer.delivered(channel, deliveries, count, len(deliveries[0].frame))
        self._members, self._pieces, self._served = [], [], []


def _is_single(channel: Channel, budget: int) -> bool:
    """Whether a channel has one event for all of a few members and nothing else to do."""
    deliveries = channel.pending
    return (
        len(deliveries) == 1
        and channel.fanout is None
        and 0 < len(channel.members) <= min(budget, SMALL_CHANNEL)
        and channel.last_join < channel.sequence  # nobody came after the event
        and not deliveries[0].except_socket_id
    )


def _take_batch(channel: Channel) -> list[Delivery]:
    """Take pending deliveries for one joined write: all of them, unless that would be a huge one."""
    pending = channel.pending
    if isinstance(pending, tuple):
        return []
    size = 0
    for count, delivery in enumerate(pending, 1):
        size += len(delivery.frame)
        if size >= MAX_JOINED_BYTES and count < len(pending):
            channel.pending = pending[count:]
            return pending[:count]
    channel.pending = ()
    return pending


class Fanout:
    """Serves channels round robin, one slice per loop step.

    `schedule` runs a function on the loop's next turn (`loop.call_soon`); `find_member` looks up a socket id among this
    process's connections.
    """

    __slots__ = (
        "_alone",
        "_find_member",
        "_is_scheduled",
        "_observer",
        "_queue",
        "_schedule",
        "_send",
        "_send_each",
        "_slice",
    )

    def __init__(
        self,
        schedule: Callable[[Callable[[], None]], object],
        find_member: FindMember,
        observer: FanoutObserver,
        slice_members: int = SLICE_MEMBERS,
        alone_members: int = 0,
        send: Send = offer_to_each,
        send_each: SendEach = offer_each,
    ) -> None:
        self._schedule = schedule
        self._find_member = find_member
        self._observer = observer
        self._slice = slice_members
        self._alone = alone_members
        self._send = send
        self._send_each = send_each
        self._queue: deque[Channel] = deque()
        self._is_scheduled = False

    def deliver(self, channel: Channel, delivery: Delivery) -> None:
        """Take an event for the present members of `channel`. Never waits."""
        channel.sequence += 1
        if not channel.members:
            channel.pending = ()  # whoever these were for has left; numbering counts on `pending` being a whole tail
            return
        if channel.pending:
            channel.pending.append(delivery)
        else:
            channel.pending = [delivery]
        if not channel.is_queued:
            channel.is_queued = True
            self._queue.append(channel)
            if not self._is_scheduled:
                self._is_scheduled = True
                self._schedule(self._run)

    def room(self) -> int:
        """To how many members `deliver_now` may send: none while anybody waits for a turn."""
        return 0 if self._queue else self._slice

    def deliver_now(self, arrivals: list[Arrival]) -> None:
        """Send single events to the members of small channels, for which nothing waits; see `room`.

        They are counted in `sequence` already. Several of one channel leave in one write.
        """
        pieces: dict[Channel, bytes] = {}
        for arrival in arrivals:
            channel = arrival[0]
            before = pieces.get(channel)
            pieces[channel] = arrival[6] if before is None else before + arrival[6]
        members: list[Member] = []
        data: list[bytes] = []
        for channel, piece in pieces.items():
            for member in channel.members:
                members.append(member)
                data.append(piece)
        if len(members) == len(arrivals) == len(pieces):
            deliveries = len(members)
        else:
            deliveries = sum([len(arrival[0].members) for arrival in arrivals])
        size = sum(map(len, data))
        self._send_each(members, data)
        self._observer.delivered_now(arrivals, deliveries, size)

    def _run(self) -> None:
        budget = self._slice
        queue = self._queue
        gathered = _Gathered()
        while budget > 0 and queue:
            channel = queue.popleft()
            if _is_single(channel, budget):
                budget -= gathered.take(channel)
            else:
                gathered.send(self._send_each, self._observer)  # first: whoever is on both gets them as they came
                budget -= self._serve(channel, budget if queue else max(budget, self._alone))
            if channel.fanout is None and not channel.pending:
                channel.is_queued = False
            else:
                queue.append(channel)
        gathered.send(self._send_each, self._observer)
        if queue:
            self._schedule(self._run)
        else:
            self._is_scheduled = False

    def _serve(self, channel: Channel, budget: int) -> int:
        """One slice of one channel; returns its cost, at least 1 so that empty passes cannot spin."""
        work = channel.fanout
        if not isinstance(work, Walk):
            deliveries = _take_batch(channel)
            if not deliveries or not channel.members:
                return 1
            if len(channel.members) <= min(budget, SMALL_CHANNEL) and self._serve_small(channel, deliveries):
                return len(channel.members) or 1
            work = channel.fanout = Walk(channel, deliveries, self._find_member)
            work.serve_exceptions()
        elif channel.pending:
            work.admit(channel, self._find_member)
        cost = work.step(channel, budget, self._send)
        for group, members in work.take_done():
            self._observer.delivered(channel, group.deliveries, members, group.size)
        if not work.groups:
            channel.fanout = None
        return cost or 1

    def _serve_small(self, channel: Channel, deliveries: list[Delivery]) -> bool:
        """All of a few members at once; False, and nothing done, when they are not all to get the same.

        Most channels are one user's or one job's. A pass of its own would cost three times as much for those.
        """
        if channel.last_join > channel.sequence - len(channel.pending) - len(deliveries):
            return False
        for delivery in deliveries:
            if delivery.except_socket_id:
                return False
        data = join_frames(deliveries)
        members = [*channel.members]  # a write that fails may take its member out
        for member in members:
            member.offer(data)
        self._observer.delivered(channel, deliveries, len(members), len(data))
        return True
