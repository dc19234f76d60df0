"""How many connections are on each channel: this process's share, kept in Redis; the cluster's totals, read from there.

Whoever joins or leaves only marks the channel. A few milliseconds later all marked channels are written by one script
call, which answers with the totals: so a storm of joins costs one call per flush, not one per join. Reading flushes
first, hence a process always sees its own changes. Layout and scripts: `sharedjox_contracts.count_layout`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

from sharedjox_contracts.channels import ChannelKind, channel_kind
from sharedjox_contracts.count_layout import (
    ANNOUNCE_EVERY_MS,
    ANNOUNCE_SCRIPT,
    ANNOUNCES,
    CONNECTIONS_FIELD,
    COUNT_SCRIPT,
    COUNT_WEBHOOK,
    FORGET_SHARE_SCRIPT,
    OCCUPANCY_WEBHOOK,
    announced_prefix,
    share_key,
    topic_prefix,
    totals_key,
)
from sharedjox_contracts.webhook_layout import held_key, queue_key
from sharedjox_contracts.webhooks import CHANNEL_OCCUPIED, CHANNEL_VACATED, SUBSCRIPTION_COUNT

from .apps import Apps
from .broker.redis import RedisBroker
from .broker.resp import Reply, RespConnection
from .broker.script import Script
from .connection.connection import Connection
from .hub.hub import Hub
from .leases import NodeLease

HOLDING: Final = "counts"
WHOLE_SHARE: Final = "all"
FLUSH_SECONDS: Final = 0.005
BUSY_FLUSH_SECONDS: Final = 0.025
"""Between flushes while many come and go: every 5 ms they took a tenth of the time of a storm of connects."""
CHANNELS_PER_CALL: Final = 200
"""A call stays well below a millisecond, in which Redis serves nobody else."""
SCAN_COUNT: Final = 1000
LEASE_MARGIN: Final = 0.9

ChangeListener = Callable[[str, str, int, int], None]
"""(app id, channel, total before, total now) over the cluster; each change is heard by one process only."""


class Counts:
    """Keeps the share up to date, answers for the totals. A `leases.Holder` of one holding per app."""

    def __init__(
        self,
        hub: Hub[Connection],
        apps: Apps,
        broker: RedisBroker,
        lease: NodeLease,
        connections: Mapping[str, int],
    ) -> None:
        self._hub = hub
        self._apps = apps
        self._broker = broker
        self._lease = lease
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._marked: defaultdict[str, set[str]] = defaultdict(set)
        self._is_scheduled = False
        self._flushed_at = -1e9
        self._leased_at = -1e9
        self._node = lease.node
        self._held: set[str] = set()
        self._late: set[tuple[str, str]] = set()
        self._count = Script(broker, COUNT_SCRIPT)
        self._announce = Script(broker, ANNOUNCE_SCRIPT)
        self._forget = Script(broker, FORGET_SHARE_SCRIPT)
        self.on_change: list[ChangeListener] = []
        """Told of every changed total, from 0 (occupied) and to 0 (vacated) included."""
        lease.register(HOLDING, self)
        lease.on_beat.append(self._beaten)
        broker.on_connected.append(self.restore)

    # --- what changes here ------------------------------------------------------------------------------------------

    def mark(self, app_id: str, name: str) -> None:
        """The number of members of a channel changed here; with CONNECTIONS_FIELD, that of the app's connections."""
        self._marked[app_id].add(name)
        if not self._is_scheduled:
            self._is_scheduled = True
            now = self._loop.time()
            self._loop.call_at(max(now + FLUSH_SECONDS, self._flushed_at + BUSY_FLUSH_SECONDS), self.flush)

    def flush(self) -> None:
        """Write what is marked. Without a lease of which we are sure, nothing: our share could already be taken off."""
        self._is_scheduled = False
        self._flushed_at = now = self._loop.time()
        if now - self._leased_at > LEASE_MARGIN * self._lease.lease_seconds:
            return  # the next heartbeat that is answered flushes
        for app_id, marked in self._marked.items():
            if marked and self._broker.commander is not None:
                names = list(marked)
                marked.clear()
                self._hold(app_id)
                for start in range(0, len(names), CHANNELS_PER_CALL):
                    self._write(app_id, names[start : start + CHANNELS_PER_CALL])

    def _hold(self, app_id: str) -> None:
        if self._node != self._lease.node:
            self._node = self._lease.node
            self._held.clear()
        if app_id not in self._held:
            self._held.add(app_id)
            self._lease.hold(HOLDING, app_id, WHOLE_SHARE)

    def _write(self, app_id: str, names: list[str]) -> None:
        flags = self._flags(app_id)
        arguments: list[str | int] = [announced_prefix(app_id), topic_prefix(app_id)]
        for name in names:
            arguments += (name, self._share(app_id, name), _flags_of(name, flags))

        def counted(reply: Reply | None) -> None:
            if reply is not None:
                for name, before, now, late in zip(names, reply[::3], reply[1::3], reply[2::3], strict=True):
                    self._changed(app_id, name, before, now, late)

        self._count.run(self._keys(app_id, self._node), arguments, counted)

    @staticmethod
    def _keys(app_id: str, node: str) -> list[str]:
        return [totals_key(app_id), share_key(app_id, node), queue_key(app_id), held_key(app_id)]

    def _share(self, app_id: str, name: str) -> int:
        if name == CONNECTIONS_FIELD:
            return self._connections.get(app_id, 0)
        channel = self._hub.channel(app_id, name)
        return len(channel.members) if channel is not None else 0

    def _flags(self, app_id: str) -> str:
        """Who in this app is told of changed counts."""
        app = self._apps.by_id(app_id)
        if app is None:
            return ""
        counts = ANNOUNCES + (COUNT_WEBHOOK if app.wants_webhook(SUBSCRIPTION_COUNT) else "")
        occupancy = OCCUPANCY_WEBHOOK if app.wants_webhook(CHANNEL_OCCUPIED, CHANNEL_VACATED) else ""
        return (counts if app.subscription_counts else "") + occupancy

    def _changed(self, app_id: str, name: str, before: int, now: int, late: int) -> None:
        if late:
            self._announce_later(app_id, name)
        if before != now and name != CONNECTIONS_FIELD:
            for listener in self.on_change:
                listener(app_id, name, before, now)

    def _announce_later(self, app_id: str, name: str) -> None:
        """Big channels: the last count of a busy time is announced when the throttle lets it through."""
        if (app_id, name) in self._late:
            return
        self._late.add((app_id, name))
        self._loop.call_later(ANNOUNCE_EVERY_MS / 1000, self._announce_late, app_id, name)

    def _announce_late(self, app_id: str, name: str) -> None:
        self._late.discard((app_id, name))

        def announced(reply: Reply | None) -> None:
            if reply:
                self._announce_later(app_id, name)

        keys = [totals_key(app_id), queue_key(app_id)]
        arguments = [announced_prefix(app_id), topic_prefix(app_id), name, self._flags(app_id)]
        self._announce.run(keys, arguments, announced)

    # --- leases -----------------------------------------------------------------------------------------------------

    def _beaten(self) -> None:
        self._leased_at = self._loop.time()
        self.flush()

    def restore(self) -> None:
        """See `leases.Holder`. Also after every reconnect: Redis may have come back without its newest writes."""
        self._leased_at = -1e9
        commander = self._broker.commander
        for app_id in self._apps.ids:
            self._marked[app_id].add(CONNECTIONS_FIELD)
            self._marked[app_id].update(channel.name for channel in self._hub.channels(app_id))
            if commander is not None:
                commander.send(self._mark_stored(app_id), "HKEYS", share_key(app_id, self._lease.node))

    def _mark_stored(self, app_id: str) -> Callable[[Reply], None]:
        """A handler that marks the channels which Redis still counts for us: some of them may be gone."""

        def stored(reply: Reply) -> None:
            if isinstance(reply, list):
                for name in reply:
                    self.mark(app_id, name.decode())

        return stored

    def drop(self, app_id: str, name: str, node: str, done: Callable[[], None]) -> None:
        """See `leases.Holder`."""

        def forgotten(reply: Reply | None) -> None:
            if reply is None:
                done()
                return
            for at in range(1, len(reply), 4):
                self._changed(app_id, reply[at].decode(), *reply[at + 1 : at + 4])
            if reply[0]:
                self.drop(app_id, name, node, done)
            else:
                done()

        flags = self._flags(app_id)
        arguments: list[str | int] = [announced_prefix(app_id), topic_prefix(app_id), flags, CHANNELS_PER_CALL]
        if not self._forget.run(self._keys(app_id, node), arguments, forgotten):
            done()

    def retire(self) -> None:
        """This process ends: its share is off the totals when Redis has read what was sent."""
        self.flush()
        for app_id in self._held:
            self.drop(app_id, WHOLE_SHARE, self._node, lambda: None)

    # --- totals -----------------------------------------------------------------------------------------------------

    def _reading(self) -> RespConnection:
        """The connection to read by, behind our own changes. Raises: ConnectionError while Redis is away."""
        self.flush()
        commander = self._broker.commander
        if commander is None:
            raise ConnectionError("Redis is away")
        return commander

    async def totals(self, app_id: str, channels: Iterable[str]) -> list[int]:
        """Subscribed connections of each channel. Raises: OSError, hiredis.HiredisError."""
        names = list(channels)
        reply = await self._reading().call("HMGET", totals_key(app_id), *names)
        return [int(total or 0) for total in reply]

    async def connections(self, app_id: str) -> int:
        """Connections of an app. Raises: OSError, hiredis.HiredisError."""
        (total,) = await self.totals(app_id, [CONNECTIONS_FIELD])
        return total

    async def occupied(self, app_id: str, prefix: str = "") -> dict[str, int]:
        """The channels with at least one subscriber and how many they have. Raises: OSError, hiredis.HiredisError.

        Read in steps: a channel that is occupied all the while is in it for certain.
        """
        pattern = "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in prefix) + "*"
        found: dict[str, int] = {}
        cursor = b"0"
        while True:
            reply = await self._reading().call(
                "HSCAN", totals_key(app_id), cursor, "MATCH", pattern, "COUNT", SCAN_COUNT
            )
            cursor, entries = cast("tuple[bytes, list[bytes]]", tuple(reply))
            for name, total in zip(entries[::2], entries[1::2], strict=True):
                if int(total) > 0 and name[:1] not in (b"*", b"#"):
                    found[name.decode()] = int(total)
            if cursor == b"0":
                return found


def _flags_of(name: str, flags: str) -> str:
    """Presence channels have rosters instead of counts; two kinds of names are no channels of the application."""
    kind = channel_kind(name)
    if name == CONNECTIONS_FIELD or kind is ChannelKind.SERVER_TO_USER:
        return ""
    return flags.replace(ANNOUNCES, "").replace(COUNT_WEBHOOK, "") if kind.is_presence else flags
