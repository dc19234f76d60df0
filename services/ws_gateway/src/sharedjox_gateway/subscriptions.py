"""Joining and leaving channels: from a checked subscribe to its answer, through the broker and history where needed.

A join waits for the channel to be open here (first subscriber of this process), and for history when the client asks to
recover; then it is completed in one step: acknowledgement, replay, membership. From that step on every event reaches
the connection once, and everything before is covered by the position in the acknowledgement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace
from sharedjox_contracts.control import Command
from sharedjox_contracts.publication import NOT_DURABLE, Publication

from .broker.base import NOWHERE, Broker, HistoryPage, Place
from .confirmation import Confirmations
from .connection.connection import Connection
from .errors import SubscribeRefusedError
from .history import HistoryReader, Replay
from .hub.channel import Channel, Delivery
from .hub.hub import Hub
from .presence.member import PresenceMember
from .protocol import messages
from .protocol.messages import Position
from .protocol.websocket import encode_frame
from .stats import Stats

REVOKED: Final = "Access to this channel was revoked"
LINGER_SWEEPS: Final = 2
"""A channel without members is closed after it was found empty by this many sweeps: quick returns cost nothing."""


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


class Subscriptions:
    """Keeps the hub's channels in step with the broker. Implements `broker.base.BrokerListener`."""

    def __init__(self, hub: Hub[Connection], stats: Stats, joined: Callable[[Connection, str], None]) -> None:
        self._hub = hub
        self._stats = stats
        self._joined = joined
        self._broker: Broker
        self._history: HistoryReader
        self._confirmations: Confirmations
        self._waiting: dict[Channel, list[Join]] = {}
        self._empty: dict[Channel, int] = {}
        self._ahead: dict[Channel, list[Join]] = {}
        self.on_command: Callable[[str, Command], None] = lambda _app_id, _command: None
        self.preparation: Callable[[Channel], Preparation | None] = lambda _channel: None
        self.on_left: Callable[[Connection, Channel], None] = lambda _connection, _channel: None
        self.presence: RosterKeeper | None = None
        self.on_members: Callable[[str, str], None] = lambda _app_id, _channel: None
        """Told (app id, channel) whenever the number of members here changes."""

    def attach(self, broker: Broker) -> None:
        """Name the broker; once, before anything else."""
        self._broker = broker
        self._history = HistoryReader(broker)
        self._confirmations = self.confirmations = Confirmations(broker)

    # --- joining ----------------------------------------------------------------------------------------------------

    def join(
        self,
        connection: Connection,
        name: str,
        recover: Position | None,
        client_id: str | None = None,
        *,
        member: PresenceMember | None = None,
        welcome: Callable[[], bytes] | None = None,
    ) -> None:
        """Let a connection in. The answer comes at once when the channel is open here, else when it is."""
        channel = self._hub.ensure_channel(connection.app.id, name)
        is_bare = recover is None and client_id is None and member is None and welcome is None
        if is_bare and self._is_simple(connection, channel):
            self._join_at_once(connection, channel)
            return
        join = Join(connection, channel, recover, client_id, member, welcome)
        if connection.denied is not None and name in connection.denied:
            self._begin(connection, name)
            self._broker.read_denial(
                connection.app.id, name, connection.socket_id, lambda stands: self._reconsider(join, stands)
            )
        else:
            self._recall(join)

    def _is_simple(self, connection: Connection, channel: Channel) -> bool:
        """Whether there is nothing to wait for, to look up or to add: so it is with nearly all joins."""
        return (
            channel.is_open
            and connection.denied is None
            and connection not in channel.members
            and self.preparation(channel) is None
        )

    def _join_at_once(self, connection: Connection, channel: Channel) -> None:
        """What the way through `_enter` comes to, without its objects: a third of the time of a subscribe."""
        self._empty.pop(channel, None)
        connection.channels.append(channel)
        self._stats.subscriptions += 1
        channel.add(connection)
        self.on_members(channel.app_id, channel.name)
        connection.offer(messages.subscribed_at(channel.name, channel.epoch, channel.offset))

    def _reconsider(self, join: Join, stands: bool) -> None:
        """A channel was taken away from this connection once; the app may have given it back since."""
        if stands:
            self.refuse(join, SubscribeRefusedError("AuthError", REVOKED, 403))
            return
        if join.connection.denied is not None:
            join.connection.denied.discard(join.channel.name)
        self._recall(join)

    def _recall(self, join: Join) -> None:
        connection, name = join.connection, join.channel.name
        if join.client_id is None or join.recover is not None:
            self._enter(join)
            return
        self._begin(connection, name)
        self._confirmations.recall(
            connection.app.id, name, join.client_id, lambda place: self._enter(replace(join, recover=place))
        )

    def _enter(self, join: Join) -> None:
        channel = self._hub.ensure_channel(join.channel.app_id, join.channel.name)
        self._empty.pop(channel, None)
        if channel is not join.channel:
            join = replace(join, channel=channel)  # closed meanwhile, for want of members
        if channel.is_open:
            self._recover(join)
            return
        self._begin(join.connection, join.channel.name)
        waiting = self._waiting.get(channel)
        if waiting is None:
            channel.held = []
            self._waiting[channel] = [join]
            self._broker.open(channel.app_id, channel.name)
        else:
            waiting.append(join)

    @staticmethod
    def _begin(connection: Connection, name: str) -> None:
        """The answer takes a while: what comes behind this subscribe waits for it."""
        if connection.joining is None:
            connection.joining = {}
        connection.joining.setdefault(name, [])

    def _recover(self, join: Join) -> None:
        """Find out what the client missed, from here or from history."""
        recover, channel = join.recover, join.channel
        here = Position(channel.epoch, channel.offset)
        if recover is None:
            self._prepare(join, Replay(here, here, None))
        elif recover.epoch != channel.epoch:
            self._prepare(join, Replay(here, here, False))
        elif recover.offset < channel.offset:
            self._begin(join.connection, join.channel.name)
            self._history.replay(channel, recover, lambda replay: self._prepare(join, replay))
        elif recover.offset == channel.offset:
            self._prepare(join, Replay(here, here, True))
        else:
            # Another node was quicker with events that are still on their way here: take them from history first.
            self._begin(join.connection, join.channel.name)
            self._ahead.setdefault(channel, []).append(join)
            self._catch_up(channel)

    def _prepare(self, join: Join, replay: Replay) -> None:
        if join.connection.is_closing:
            self._leave_if_empty(join.channel)
            return
        preparation = self.preparation(join.channel)
        if preparation is None:
            self._complete(join, replay, {}, b"")
        else:
            self._begin(join.connection, join.channel.name)
            preparation.prepare(join, lambda data, frames: self._complete(join, replay, data, frames))

    def _complete(self, join: Join, replay: Replay, data: dict[str, Any], frames: Frames) -> None:
        connection, channel = join.connection, join.channel
        if connection.is_closing:
            self._leave_if_empty(channel)
            return
        if self._hub.channel(channel.app_id, channel.name) is not channel:
            self._enter(join)
            return
        if replay.recovered is not None and replay.end != Position(channel.epoch, channel.offset):
            self._recover(join)  # more was published while the channel's extras were prepared
            return
        if connection.denied is not None and channel.name in connection.denied:
            self.refuse(join, SubscribeRefusedError("AuthError", REVOKED, 403))
            return
        self._acknowledge(join, replay, data, frames)
        if connection.joining is not None and channel.name in connection.joining:
            self._joined(connection, channel.name)

    def refuse(self, join: Join, refusal: SubscribeRefusedError) -> None:
        """Answer a join with a no after all."""
        connection, channel = join.connection, join.channel
        if self.presence is not None and channel.kind.is_presence and connection not in channel.members:
            self.presence.left(connection, channel)
        self._leave_if_empty(channel)
        if connection.is_closing:
            return
        self._stats.subscribe_refused[refusal.kind] += 1
        connection.offer(messages.subscription_error(channel.name, refusal.kind, refusal.message, refusal.status))
        if connection.joining is not None and channel.name in connection.joining:
            self._joined(connection, channel.name)

    def _acknowledge(self, join: Join, replay: Replay, data: dict[str, Any], frames: Frames) -> None:
        connection, channel = join.connection, join.channel
        # Without recovery the client stands where the channel is now; more may have come while extras were prepared.
        position = replay.start if replay.recovered is not None else Position(channel.epoch, channel.offset)
        is_first = connection not in channel.members
        if is_first:
            connection.channels.append(channel)
            self._stats.subscriptions += 1
            channel.add(connection)
            self.on_members(channel.app_id, channel.name)
        elif replay.recovered is None:
            position = Position(channel.epoch, channel.served_offset())  # a member twice over misses nothing by it
        else:
            channel.add(connection)
        answer = join.welcome() if join.welcome else self._answer(channel, position, replay, data)
        if callable(frames):
            frames = frames(Moment(replay, channel.epoch, channel.offset, is_first))
        connection.offer_replay(answer + frames, replay.data)
        if join.client_id is not None:
            self._confirmations.track(connection, channel, join.client_id, position)

    def _answer(self, channel: Channel, position: Position, replay: Replay, data: dict[str, Any]) -> bytes:
        if replay.recovered is None and not data and not channel.kind.is_presence:
            return messages.subscribed_at(channel.name, position.epoch, position.offset)
        acknowledged = {**data, "position": messages.position_data(position.epoch, position.offset)}
        if replay.recovered is not None:
            acknowledged["recovered"] = replay.recovered
            acknowledged["replayed"] = replay.count
            self._stats.recoveries["recovered" if replay.recovered else "lost"] += 1
            self._stats.replayed += replay.count
        if self.presence is not None and channel.kind.is_presence:
            acknowledged |= self.presence.acknowledgement(channel)
        return messages.subscription_succeeded(channel.name, acknowledged)

    # --- leaving ----------------------------------------------------------------------------------------------------

    def leave(self, connection: Connection, channel: Channel) -> bool:
        """Take a connection off a channel; False when it was not on it."""
        if not channel.discard(connection):
            return False
        connection.channels.remove(channel)
        self._confirmations.left(connection, channel)
        self._left(connection, channel)
        return True

    def leave_all(self, connection: Connection) -> None:
        """Take an ending connection off everything."""
        self._confirmations.ended(connection)
        channels, connection.channels = connection.channels, []
        for channel in channels:
            if channel.discard(connection):
                self._left(connection, channel)
        for name in connection.joining or ():
            waiting = self._hub.channel(connection.app.id, name)
            if waiting is not None:
                self._gone(connection, waiting)

    def _left(self, connection: Connection, channel: Channel) -> None:
        self._stats.subscriptions -= 1
        self.on_members(channel.app_id, channel.name)
        self.on_left(connection, channel)
        self._gone(connection, channel)

    def _gone(self, connection: Connection, channel: Channel) -> None:
        if self.presence is not None and channel.kind.is_presence:
            self.presence.left(connection, channel)
        self._leave_if_empty(channel)

    def _leave_if_empty(self, channel: Channel) -> None:
        if not channel.members and channel not in self._waiting:
            self._empty.setdefault(channel, 0)

    def _is_in_use(self, channel: Channel) -> bool:
        if channel.members or channel in self._waiting:
            return True
        return self.presence is not None and channel.kind.is_presence and self.presence.is_awaited(channel)

    def sweep(self) -> None:
        """Close channels that stayed empty, give up what is kept of histories. Called every few seconds."""
        self._history.forget()
        for channel, seen in list(self._empty.items()):
            if self._is_in_use(channel):
                del self._empty[channel]
            elif seen + 1 < LINGER_SWEEPS:
                self._empty[channel] = seen + 1
            else:
                del self._empty[channel]
                self._hub.forget_channel(channel)
                self._broker.close(channel.app_id, channel.name)
                if self.presence is not None and channel.kind.is_presence:
                    self.presence.closed(channel)

    # --- what the broker says ---------------------------------------------------------------------------------------

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
            for join in self._waiting.pop(found, ()):
                self._recover(join)
            self._leave_if_empty(found)
            return
        if self.presence is not None and found.kind.is_presence:
            self.presence.reopened(found)
        if not reaches:
            self._declare_lost(found, place if place.offset >= found.offset else self.place(app_id, channel))
        if (place.epoch, place.offset) == (found.epoch, found.offset) and found not in self._ahead:
            self._release(found)
        else:
            self._catch_up(found)
        self._history.reopened(found)

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

    def commanded(self, app_id: str, command: Command) -> None:
        """See `BrokerListener.commanded`."""
        self.on_command(app_id, command)

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
        for join in self._ahead.pop(channel, ()):
            if join.recover is not None and join.recover.offset > channel.offset:
                here = Position(channel.epoch, channel.offset)
                self._prepare(join, Replay(here, here, False))  # a position that nobody can have reached
            else:
                self._recover(join)

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
