"""The registry: connections by socket id, channels by application and name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from .channel import Channel, Delivery, Member
from .fanout import SLICE_MEMBERS, Fanout, FanoutObserver, Send, offer_to_each

M = TypeVar("M", bound=Member)


class Hub(Generic[M]):
    """All that this process holds. `M` is the connection type; the hub only needs it to be a `Member`."""

    __slots__ = ("_channels", "_fanout", "connections")

    def __init__(
        self,
        schedule: Callable[[Callable[[], None]], object],
        observer: FanoutObserver,
        slice_members: int = SLICE_MEMBERS,
        send: Send = offer_to_each,
    ) -> None:
        self.connections: dict[str, M] = {}
        self._channels: dict[tuple[str, str], Channel] = {}
        self._fanout = Fanout(schedule, self.connections.get, observer, slice_members, send)

    def channel(self, app_id: str, name: str) -> Channel | None:
        """A channel that this process has open, or None."""
        return self._channels.get((app_id, name))

    def ensure_channel(self, app_id: str, name: str) -> Channel:
        """The channel, made (not open yet) when there is none."""
        key = (app_id, name)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(app_id, name)
        return channel

    def forget_channel(self, channel: Channel) -> None:
        """Drop a channel without members."""
        self._channels.pop((channel.app_id, channel.name), None)

    def channels(self, app_id: str | None = None) -> Iterator[Channel]:
        """Channels of one application, or all. Do not add or remove channels while iterating."""
        return (channel for channel in self._channels.values() if app_id is None or channel.app_id == app_id)

    @property
    def channel_count(self) -> int:
        """How many channels this process holds."""
        return len(self._channels)

    def deliver(self, channel: Channel, delivery: Delivery) -> None:
        """Hand an event to the channel's present members, soon and in order."""
        self._fanout.deliver(channel, delivery)
