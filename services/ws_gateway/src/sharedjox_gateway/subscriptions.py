"""Joining and leaving channels: from a checked subscribe to its answer, through the broker and history where needed.

A join waits for the channel to be open here (first subscriber of this process), and for history when the client asks to
recover; then it is completed in one step: acknowledgement, replay, membership. From that step on every event reaches
the connection once, and everything before is covered by the position in the acknowledgement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from .broker.base import Broker
from .confirmation import Confirmations
from .connection.connection import Connection
from .errors import SubscribeRefusedError
from .feed import ChannelFeed
from .history import Replay
from .hub.channel import Channel
from .hub.hub import Hub
from .join import Frames, Join, Moment, Preparation, RosterKeeper
from .presence.member import PresenceMember
from .protocol import messages
from .protocol.messages import Position
from .stats import Stats

REVOKED: Final = "Access to this channel was revoked"
LINGER_SWEEPS: Final = 2
"""A channel without members is closed after it was found empty by this many sweeps: quick returns cost nothing."""


class Subscriptions:
    """Who is on which channel of the hub, and who is about to be."""

    def __init__(
        self,
        hub: Hub[Connection],
        stats: Stats,
        broker: Broker,
        feed: ChannelFeed,
        joined: Callable[[Connection, str], None],
    ) -> None:
        self._hub = hub
        self._stats = stats
        self._broker = broker
        self._feed = feed
        self._joined = joined
        self.confirmations = Confirmations(broker)
        self._waiting: dict[Channel, list[Join]] = {}
        self._empty: dict[Channel, int] = {}
        self.preparation: Callable[[Channel], Preparation | None] = lambda _channel: None
        self.presence: RosterKeeper | None = None
        self.on_members: Callable[[str, str], None] = lambda _app_id, _channel: None
        """Told (app id, channel) whenever the number of members here changes."""
        feed.on_open = self._go_on

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
        self.confirmations.recall(
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
            self._broker.open(channel.app_id, channel.name, target=channel)
        else:
            waiting.append(join)

    def _go_on(self, channel: Channel) -> None:
        """The channel is open now: let them in who waited for that."""
        for join in self._waiting.pop(channel, ()):
            self._recover(join)
        self._leave_if_empty(channel)

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
            self._feed.history.replay(channel, recover, lambda replay: self._prepare(join, replay))
        elif recover.offset == channel.offset:
            self._prepare(join, Replay(here, here, True))
        else:
            # Another node was quicker with events that are still on their way here: take them from history first.
            self._begin(join.connection, join.channel.name)
            self._feed.catch_up(channel, lambda: self._recover_once_more(join, recover))

    def _recover_once_more(self, join: Join, recover: Position) -> None:
        """The channel has all there is: a position that is still ahead is one that nobody can have reached."""
        if recover.offset > join.channel.offset:
            here = Position(join.channel.epoch, join.channel.offset)
            self._prepare(join, Replay(here, here, False))
        else:
            self._recover(join)

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
            self.confirmations.track(connection, channel, join.client_id, position)

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
        self.confirmations.left(connection, channel)
        self._left(connection, channel)
        return True

    def leave_all(self, connection: Connection) -> None:
        """Take an ending connection off everything."""
        self.confirmations.ended(connection)
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
        self._feed.history.forget()
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
