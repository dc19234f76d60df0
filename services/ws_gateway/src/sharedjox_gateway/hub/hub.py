"""The registry: connections by socket id, channels by application and name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, TypeVar

from .channel import Channel, Member
from .fanout import SLICE_MEMBERS, Fanout, FanoutObserver, SendEach, offer_each, offer_to_each
from .walk import Send

M = TypeVar("M", bound=Member)


class Hub(Generic[M]):
    """All that this process holds. `M` is the connection type; the hub only needs it to be a `Member`."""

    __slots__ = ("_channels", "connections", "deliver", "deliver_now", "room")

    def __init__(
        self,
        schedule: Callable[[Callable[[], None]], object],
        observer: FanoutObserver,
        slice_members: int = SLICE_MEMBERS,
        alone_members: int = 0,
        send: Send = offer_to_each,
        send_each: SendEach = offer_each,
    ) -> None:
        self.connections: dict[str, M] = {}
        self._channels: dict[str, dict[str, Channel]] = {}
        fanout = Fanout(schedule, self.connections.get, observer, slice_members, alone_members, send, send_each)
        self.deliver = fanout.deliver
        """Hand an event to the channel's present members, soon and in order."""
        self.deliver_now, self.room = fanout.deliver_now, fanout.room
        """Send events to the members of small channels at once, and to how many members that may be now."""

    def channel(self, app_id: str, name: str) -> Channel | None:
        """A channel that this process has open, or None."""
        of_app = self._channels.get(app_id)
        return None if of_app is None else of_app.get(name)

    def ensure_channel(self, app_id: str, name: str) -> Channel:
        """The channel, made (not open yet) when there is none."""
        of_app = self._channels.setdefault(app_id, {})
        channel = of_app.get(name)
        if channel is None:
            channel = of_app[name] = Channel(app_id, name)
        return channel

    def forget_channel(self, channel: Channel) -> None:
        """Drop a channel without members."""
        of_app = self._channels.get(channel.app_id)
        if of_app is not None:
            of_app.pop(channel.name, None)

    def channels(self, app_id: str | None = None) -> Iterator[Channel]:
        """Channels of one application, or all. Do not add or remove channels while iterating."""
        if app_id is not None:
            return iter(self._channels.get(app_id, {}).values())
        return chain.from_iterable(of_app.values() for of_app in self._channels.values())

    @property
    def channel_count(self) -> int:
        """How many channels this process holds."""
        return sum(map(len, self._channels.values()))
