"""All presence channels of this process: between subscriptions (who joins, who leaves) and Redis (who is a member)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw
from sharedjox_contracts.codec import encode_json_text
from sharedjox_contracts.presence_layout import MEMBER_ADDED, MEMBER_REMOVED, MemberData
from sharedjox_contracts.publication import Publication
from sharedjox_kit.logs import get_logger

from sharedjox_gateway.apps import Apps
from sharedjox_gateway.broker.redis import RedisBroker
from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.errors import SubscribeRefusedError
from sharedjox_gateway.hub.channel import Channel, Delivery
from sharedjox_gateway.hub.hub import Hub
from sharedjox_gateway.join import Join
from sharedjox_gateway.leases import NodeLease
from sharedjox_gateway.protocol import messages

from .channel import PresenceChannel
from .roster import Announcement, Change
from .store import HOLDING, PresenceStore

_log = get_logger(__name__)
RECONCILE_SECONDS: Final = 60.0
"""Every channel is compared with Redis this often, some with each heartbeat."""
CHANNEL_FULL: Final = SubscribeRefusedError(
    "LimitReached", "The maximum members per presence channel limit was reached", 4100
)
_MEMBER_DATA: Final = msgspec.json.Decoder(MemberData)


class PresenceRegistry:
    """A `Holder` of presence members, and a `RosterKeeper` for subscriptions and their feed."""

    def __init__(
        self,
        hub: Hub[Connection],
        broker: RedisBroker,
        lease: NodeLease,
        apps: Apps,
        refuse: Callable[[Join, SubscribeRefusedError], None],
    ) -> None:
        self._hub = hub
        self._lease = lease
        self._refuse = refuse
        self._store = PresenceStore(broker, lease, apps)
        self._channels: dict[Channel, PresenceChannel] = {}
        self._strangers: dict[str, set[PresenceChannel]] = {}
        self._round: list[PresenceChannel] = []
        self._behind: list[PresenceChannel] = []
        """Closed here before Redis could be told that everybody left."""
        self._loop = asyncio.get_running_loop()
        lease.register(HOLDING, self)
        lease.on_beat.append(self._on_beat)
        broker.on_connected.append(self._catch_up)

    def __len__(self) -> int:
        """How many presence channels this process serves."""
        return len(self._channels)

    # --- asked by subscriptions -------------------------------------------------------------------------------------

    def prepare(self, join: Join, ready: Callable[[dict[str, Any], bytes], None]) -> None:
        """See `join.Preparation`: make the connection a member, then go on."""
        assert join.member is not None  # noqa: S101 - the handler lets nobody on a presence channel without one

        def answer(accepted: bool) -> None:
            if accepted:
                ready({}, b"")
            else:
                self._refuse(join, CHANNEL_FULL)

        self._ensure(join.channel).join(join.connection, join.member, answer)

    def _ensure(self, channel: Channel) -> PresenceChannel:
        presence = self._channels.get(channel)
        if presence is None:
            presence = self._channels[channel] = PresenceChannel(
                channel,
                self._store,
                deliver=self._deliver,
                soon=self._loop.call_soon,
                later=lambda verify: self._loop.call_later(self._lease.doubt_seconds, verify),
                met=self._met,
            )
        return presence

    def acknowledgement(self, channel: Channel) -> dict[str, Any]:
        """What an acknowledgement on this channel says of its members, as this process knows them now."""
        return {"presence": self._ensure(channel).roster.encoded()}

    def published(self, channel: Channel, publication: Publication) -> None:
        """A change of the members was announced."""
        presence = self._channels.get(channel)
        if presence is None:
            return
        try:
            epoch, _, version = publication.header.presence.partition(" ")
            data = _MEMBER_DATA.decode(publication.frame)
            announcement = Announcement(epoch, int(version), Change(data.user_id, bytes(data.user_info) or None))
        except (msgspec.DecodeError, ValueError):
            _log.warning("presence.malformed_announcement", channel=channel.name)
            presence.roster.suspect()
            presence.sync()
            return
        presence.announced(announcement)

    def reopened(self, channel: Channel) -> None:
        """The broker listens for this channel again after an outage."""
        if (presence := self._channels.get(channel)) is not None:
            presence.sync()

    def left(self, connection: Connection, channel: Channel) -> None:
        """A connection left, or gave up joining."""
        if (presence := self._channels.get(channel)) is not None:
            presence.leave(connection)

    def closed(self, channel: Channel) -> None:
        """The broker no longer listens for this channel: nobody was on it for a while."""
        presence = self._channels.pop(channel, None)
        if presence is not None and presence.is_behind:
            self._behind.append(presence)

    def _catch_up(self) -> None:
        self._behind = [presence for presence in self._behind if presence.is_behind]
        for presence in self._behind:
            presence.sync()

    def is_awaited(self, channel: Channel) -> bool:
        """Whether somebody is on the channel or waits to be let in."""
        presence = self._channels.get(channel)
        return presence is not None and presence.is_held

    def _deliver(self, channel: Channel, change: Change) -> None:
        event = MEMBER_REMOVED if change.info is None else MEMBER_ADDED
        data: dict[str, Any] = {"user_id": change.user_id}
        if change.info is not None:
            data["user_info"] = Raw(change.info)
        frame = messages.json_frame({"event": event, "data": encode_json_text(data), "channel": channel.name})
        self._hub.deliver(channel, Delivery(frame, event))

    # --- asked by others --------------------------------------------------------------------------------------------

    def user_of(self, connection: Connection, channel: Channel) -> str | None:
        """As whom a connection is on a presence channel."""
        presence = self._channels.get(channel)
        return presence.user_of(connection) if presence is not None else None

    def connections_of(self, app_id: str, user_id: str) -> set[Connection]:
        """This process's connections that are on some presence channel as this user."""
        return {
            connection
            for channel, presence in self._channels.items()
            if channel.app_id == app_id
            for connection in presence.connections_of(user_id)
        }

    # --- Holder -----------------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """See `leases.Holder`."""
        for presence in self._channels.values():
            if presence.is_held or presence.is_behind:
                presence.sync()

    def drop(self, app_id: str, name: str, node: str, done: Callable[[], None]) -> None:
        """See `leases.Holder`."""
        self._store.drop_node(app_id, name, node, done)

    # --- now and then -----------------------------------------------------------------------------------------------

    def _on_beat(self) -> None:
        """Compare a share of the channels with Redis, and remove members of nodes that nobody knows."""
        if not self._lease.is_steady:
            self._strangers.clear()
            return
        strangers, self._strangers = self._strangers, {}
        for node, presences in strangers.items():
            if node not in self._lease.live:
                _log.info("presence.ghosts", node=node, channels=len(presences))
                for presence in presences:
                    self._store.drop_node(presence.channel.app_id, presence.channel.name, node, lambda: None)
        if not self._round:
            self._round = list(self._channels.values())
        beats = max(1, round(RECONCILE_SECONDS / self._lease.heartbeat_seconds))
        share = -(-len(self._channels) // beats)
        due, self._round = self._round[:share], self._round[share:]
        for presence in due:
            if presence.is_held or presence.is_behind:
                presence.sync(believe_absence=True)

    def _met(self, presence: PresenceChannel, nodes: Iterable[str]) -> None:
        """Nodes that hold members but had no lease when last seen; the next heartbeat tells whether they have one."""
        for node in nodes:
            if node != self._lease.node and node not in self._lease.live:
                self._strangers.setdefault(node, set()).add(presence)
