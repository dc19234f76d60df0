"""A walk around the members of one big channel: what is under way, whose turn it is, who gets what.

Source: docs/performance.md, "Fan-out". The walk is on a snapshot of the members. Those who leave are skipped, those who
join (or leave and join again) are not served by it: their position already covers its events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from .channel import Channel, Delivery, Member

MEMBER_BYTES: Final = 8 * 1024
"""A write of so many bytes counts as one more member: copying them into the socket takes about as long as the call."""
MAX_JOINED_BYTES: Final = 256 * 1024

FindMember = Callable[[str], Member | None]
Send = Callable[[list[Member], int, int, bytes], int]
"""Offers the same bytes to the members of a list from one index to before another; returns the index before which it
stopped: the latter, or an earlier one because other work waits."""


def join_frames(deliveries: list[Delivery]) -> bytes:
    """One write for several events."""
    if len(deliveries) == 1:
        return deliveries[0].frame
    return b"".join([delivery.frame for delivery in deliveries])


class Group:
    """Events that set out together: they are done when the walk has come around to where they came in.

    `until` is how many visits the walk has made by then, `served_before` how many members it had served at their start.
    """

    __slots__ = ("deliveries", "served_before", "size", "until")

    def __init__(self, deliveries: list[Delivery], until: int, served_before: int) -> None:
        self.deliveries = deliveries
        self.size = sum([len(delivery.frame) for delivery in deliveries])
        self.until = until
        self.served_before = served_before


class Walk:
    """A walk around a channel's members, each time with one joined write of all events that they have not got yet.

    Events that come meanwhile set out at once, from the member whose turn it is, and are done one round later: they
    wait for no round to end. Only members of the moment at which the walk began are on it. So no event joins when the
    members have changed since, or when some of them are not to get all: these wait for the next walk.
    """

    __slots__ = (
        "_is_open",
        "_served",
        "_visited",
        "data",
        "exceptions",
        "first",
        "groups",
        "index",
        "members",
        "version",
    )

    def __init__(self, channel: Channel, deliveries: list[Delivery], find_member: FindMember) -> None:
        self.first = channel.sequence - len(channel.pending) - len(deliveries) + 1
        self.data = join_frames(deliveries)
        self.index = 0
        self._visited = self._served = 0
        self.version = channel.version
        self.exceptions: dict[Member, bytes] = {}
        if channel.last_join >= self.first:
            self._set_newcomers_apart(channel, deliveries)
        self.members = channel.walked(newcomers=len(self.exceptions))
        for delivery in deliveries:
            if delivery.except_socket_id:
                self._set_sender_apart(channel, deliveries, find_member(delivery.except_socket_id))
        self._is_open = not self.exceptions
        self.groups = deque([Group(deliveries, len(self.members), 0)])

    @property
    def deliveries(self) -> list[Delivery]:
        """What is under way, the oldest first."""
        return [delivery for group in self.groups for delivery in group.deliveries]

    def _set_newcomers_apart(self, channel: Channel, deliveries: list[Delivery]) -> None:
        """Members that joined after some of the deliveries had been taken get the later ones only."""
        for member, joined in reversed(channel.members.items()):
            if joined < self.first:
                break
            self.exceptions[member] = self._data_for(member, joined, deliveries)

    def _set_sender_apart(self, channel: Channel, deliveries: list[Delivery], member: Member | None) -> None:
        """The connection that caused an event does not get that one (`toOthers`)."""
        if member is None or member in self.exceptions or member not in channel.members:
            return
        self.members = self.members.copy()
        self.members.remove(member)
        self.exceptions[member] = self._data_for(member, channel.members[member], deliveries)

    def _data_for(self, member: Member, joined: int, deliveries: list[Delivery]) -> bytes:
        return join_frames(
            [
                delivery
                for number, delivery in enumerate(deliveries, self.first)
                if number > joined and delivery.except_socket_id != member.socket_id
            ]
        )

    def serve_exceptions(self) -> None:
        """Serve those who are not to get all of what the walk begins with."""
        for member, data in self.exceptions.items():
            if data:
                member.offer(data)
                self._served += 1

    def admit(self, channel: Channel, find_member: FindMember) -> None:
        """Take along what is pending, as far as it is for all who are on the walk and keeps writes bounded."""
        if not self._is_open or channel.version != self.version:
            self._is_open = False
            return
        room = MAX_JOINED_BYTES - len(self.data)
        admitted: list[Delivery] = []
        for delivery in channel.pending:
            room -= len(delivery.frame)
            if room < 0:
                break
            if delivery.except_socket_id and find_member(delivery.except_socket_id) in channel.members:
                self._is_open = False
                break
            admitted.append(delivery)
        if admitted:
            left = list(channel.pending[len(admitted) :])
            channel.pending = left or ()
            self.groups.append(Group(admitted, self._visited + len(self.members), self._served))
            self.data += join_frames(admitted)

    def step(self, channel: Channel, budget: int, send: Send) -> int:
        """Serve some members, up to `budget` when the write is small; returns what it cost: all, if cut short."""
        start = self.index
        weight = 1 + len(self.data) // MEMBER_BYTES
        count = min(budget // weight or 1, len(self.members) - start, self.groups[0].until - self._visited)
        stop = start + count
        if channel.version != self.version:
            stop -= self._skip_those_who_left(channel, start, stop)
        self.index = end = send(self.members, start, stop, self.data)
        self._visited += end - start
        self._served += end - start
        if end >= len(self.members):
            self.index = 0
        return (end - start) * weight if end == stop else budget

    def _skip_those_who_left(self, channel: Channel, start: int, stop: int) -> int:
        """Take members that left out of those who are next; returns how many they were.

        They count as visited, by all events on the way: none that came behind their leaving has joined. The list is
        this walk's alone now: the channel makes a new one.
        """
        current, first = channel.members, self.first
        members = self.members
        staying = [member for member in members[start:stop] if current.get(member, first) < first]
        members[start:stop] = staying
        gone = stop - start - len(staying)
        self._visited += gone
        return gone

    def take_done(self) -> list[tuple[Group, int]]:
        """Events that have been all around, each with the number of members that they were offered to."""
        done: list[tuple[Group, int]] = []
        while self.groups and self.groups[0].until <= self._visited:
            group = self.groups.popleft()
            done.append((group, self._served - group.served_before))
        if done:
            self.data = join_frames(self.deliveries)
        return done
