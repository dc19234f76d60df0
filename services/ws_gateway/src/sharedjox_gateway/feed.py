"""What the broker says of channels, brought into order: each event once, in sequence, and a loss said openly.

An event that does not follow the last one means that something is missing. Then everything of that channel is held
until the ones before it were fetched from history.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sharedjox_contracts.control import Command
from sharedjox_contracts.publication import NOT_DURABLE, Header, Publication

from .broker.base import NOWHERE, Broker, HistoryPage, Place
from .connection.connection import Connection
from .history import HistoryReader
from .hub.channel import Arrival, Channel, Delivery
from .hub.fanout import SMALL_CHANNEL
from .hub.hub import Hub
from .hub.walk import MEMBER_BYTES
from .join import RosterKeeper
from .protocol import messages
from .protocol.messages import Position
from .protocol.websocket import encode_frame, payload_of
from .stats import Stats


class ChannelFeed:
    """Keeps the hub's channels in step with the broker. Implements `broker.base.ChannelListener`."""

    def __init__(self, hub: Hub[Connection], stats: Stats, on_command: Callable[[str, Command], None]) -> None:
        self._hub = hub
        self._stats = stats
        self._on_command = on_command
        self._broker: Broker
        self.history: HistoryReader
        self._waiting: dict[Channel, list[Callable[[], None]]] = {}
        self.on_open: Callable[[Channel], None] = lambda _channel: None
        """Told when a channel is open for the first time: its position is known from now on."""
        self.presence: RosterKeeper | None = None

    def attach(self, broker: Broker) -> None:
        """Name the broker; once, before anything else."""
        self._broker = broker
        self.history = HistoryReader(broker)

    # --- ChannelListener --------------------------------------------------------------------------------------------

    def place(self, app_id: str, channel: str) -> Place:
        """See `BrokerListener.place`."""
        found = self._hub.channel(app_id, channel)
        return Place(found.epoch, found.offset, found.newest_id) if found is not None and found.is_open else NOWHERE

    def opened(self, app_id: str, channel: str, place: Place, *, reaches: bool) -> None:
        """See `BrokerListener.opened`: the first time joins go on; later times what was missed is fetched."""
        found = self._hub.channel(app_id, channel)
        if found is None:
            return
        if not found.is_open:
            found.is_open = True
            found.advance(place.epoch, place.offset, place.event_id)
            self._release(found)
            self.on_open(found)
            return
        if self.presence is not None and found.kind.is_presence:
            self.presence.reopened(found)
        if not reaches:
            self._declare_lost(found, place if place.offset >= found.offset else self.place(app_id, channel))
        if (place.epoch, place.offset) == (found.epoch, found.offset) and found not in self._waiting:
            self._release(found)
        else:
            self._catch_up(found)
        self.history.reopened(found)

    def published(self, app_id: str, channel: str, publication: Publication) -> None:
        """See `BrokerListener.published`."""
        found = self._hub.channel(app_id, channel)
        if found is None:
            return
        offset = publication.offset
        if found.held is not None:
            found.held.append(publication)
        elif offset == NOT_DURABLE:
            self._deliver(found, publication)
        elif offset == found.offset + 1 and publication.epoch == found.epoch:  # the next one
            found.offset = offset
            found.newest_id = publication.header.event_id
            self._deliver(found, publication)
        elif offset > found.offset or publication.epoch != found.epoch:  # a gap, or a history begun anew; else a repeat
            found.held = [publication]
            self._catch_up(found)

    def arrived(self, arrivals: list[Arrival]) -> None:
        """See `ChannelListener.arrived`. What `published` comes to, without its objects.

        While nothing waits in the fan-out, events for a few members are sent before the next thing is read from Redis.
        """
        singles: list[Arrival] = []
        room = self._hub.room()
        repeats = 0
        for arrival in arrivals:
            channel, offset, epoch, event, event_id, committed_at_us, frame = arrival
            if channel.held is not None or (offset and (offset != channel.offset + 1 or epoch != channel.epoch)):
                self._out_of_turn(channel, arrival)
                repeats += 1
                continue
            if offset:
                channel.offset = offset
                channel.newest_id = event_id
            members, is_cache = len(channel.members), channel.kind.is_cache
            if 0 < members <= room and members <= SMALL_CHANNEL and len(frame) < MEMBER_BYTES and not is_cache:
                room -= members
                channel.sequence += 1
                singles.append(arrival)
                continue
            delivery = Delivery(frame, event, "", committed_at_us, offset)
            if offset and is_cache:
                channel.newest = delivery
            self._hub.deliver(channel, delivery)
            if members:
                room = 0
        self._stats.events_received += len(arrivals) - repeats
        if singles:
            self._hub.deliver_now(singles)

    def commanded(self, app_id: str, command: Command) -> None:
        """See `BrokerListener.commanded`."""
        self._on_command(app_id, command)

    def catch_up(self, channel: Channel, then: Callable[[], None]) -> None:
        """Take from history what may be there already and is still on its way here; `then` is called after that."""
        self._waiting.setdefault(channel, []).append(then)
        self._catch_up(channel)

    # --- in order ---------------------------------------------------------------------------------------------------

    def _out_of_turn(self, channel: Channel, arrival: Arrival) -> None:
        """An event that is no news, or has to wait until others were fetched."""
        _, offset, epoch, event, event_id, committed_at_us, frame = arrival
        header = Header(event, event_id=event_id, committed_at_us=committed_at_us)
        self.published(channel.app_id, channel.name, Publication(offset, epoch, header, payload_of(frame)))

    def _deliver(self, channel: Channel, publication: Publication) -> None:
        header = publication.header
        self._stats.events_received += 1
        if header.presence:
            if self.presence is not None:
                self.presence.published(channel, publication)
            return
        frame = encode_frame(publication.frame)
        delivery = Delivery(
            frame,
            header.event,
            header.except_socket_id,
            header.committed_at_us,
            publication.offset,
            header.traceparent,
            time.time_ns() if header.traceparent else 0,
        )
        if publication.offset and channel.kind.is_cache:
            channel.newest = delivery
        self._hub.deliver(channel, delivery)

    def _release(self, channel: Channel) -> None:
        held, channel.held = channel.held, None
        for publication in held or ():
            self.published(channel.app_id, channel.name, publication)

    def _catch_up(self, channel: Channel) -> None:
        """Fetch what lies between the channel's position and what comes in, and deliver it first."""
        if channel.held is None:
            channel.held = []
        self._read_on(channel, channel.offset)

    def _read_on(self, channel: Channel, after: int) -> None:
        here = Position(channel.epoch, channel.offset)
        self._broker.read_history(
            channel.app_id, channel.name, after, lambda page: self._caught_up(channel, here, after, page)
        )

    def _caught_up(self, channel: Channel, here: Position, after: int, page: HistoryPage | None) -> None:
        if page is None or here != Position(channel.epoch, channel.offset):
            return  # the broker is away, and `opened` will come again; or another catch-up was quicker
        if page.epoch != channel.epoch and after > 0:
            self._read_on(channel, 0)  # a history begun anew: all of it is news
            return
        if page.epoch == channel.epoch and page.offset < channel.offset:
            return  # Redis lost what it had confirmed; `opened` is about to come, in another epoch
        first = page.publications[0].offset if page.publications else page.offset + 1
        if page.epoch != channel.epoch or first != after + 1:
            self._declare_lost(channel, _resumed_at(page, first))
        for publication in page.publications:
            if publication.offset == channel.offset + 1:
                channel.offset = publication.offset
                channel.newest_id = publication.header.event_id
                self._deliver(channel, publication)
        self._release(channel)
        for then in self._waiting.pop(channel, ()):
            then()

    def _declare_lost(self, channel: Channel, place: Place) -> None:
        """Say openly that events may be missing: members are acknowledged anew with `recovered: false`."""
        channel.advance(place.epoch, place.offset, place.event_id)
        data = {"position": messages.position_data(place.epoch, place.offset), "recovered": False, "replayed": 0}
        if self.presence is not None and channel.kind.is_presence:
            data |= self.presence.acknowledgement(channel)
        self._stats.recoveries["lost"] += len(channel.members)
        frame = messages.subscription_succeeded(channel.name, data)
        self._hub.deliver(channel, Delivery(frame, "pusher_internal:subscription_succeeded"))


def _resumed_at(page: HistoryPage, first: int) -> Place:
    """Where a channel goes on after a loss: at a history's very beginning, else at its end."""
    if first == 1:
        return Place(page.epoch)
    return Place(page.epoch, page.offset, page.publications[-1].header.event_id if page.publications else "")
