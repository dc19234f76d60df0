"""A Redis Cluster as one broker: each channel at the master that serves its slot, over sharded pub/sub.

What a gateway does after a lost connection it also does when a slot has moved or a replica was promoted: it subscribes
at the new master and asks for the channel's position there; what was missed comes from history. A channel whose opening
stays unanswered, for whatever reason, is opened again until it is answered.

Commands to gateways, rosters and counts stay at the Redis of REDIS_URL (`main`). Where that announces something for a
channel's members, the channel is opened at its node when `main` is heard, so that nothing falls between.
Source: docs/adr/0034-channels-on-a-cluster.md
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

from sharedjox_contracts.control import Command
from sharedjox_contracts.publication import Publication
from sharedjox_contracts.redis_layout import CHANNEL_SLOTS, LimitsFor, channel_slot
from sharedjox_kit.logs import get_logger
from sharedjox_kit.redis_address import ClusterAddress
from sharedjox_kit.redis_address import Place as NodePlace
from sharedjox_kit.redis_cluster import Topology

from sharedjox_gateway.hub.channel import Arrival
from sharedjox_gateway.protocol.messages import Position

from .base import BrokerListener, ChannelListener, HistoryPage, Place
from .durable import DurableEvent, PublishHandler
from .redis import RedisBroker
from .resp import RespConnection
from .shard import ShardBroker, ShardOwner, is_redirection
from .topology import ask_topology

_log = get_logger(__name__)
LOOK_SECONDS: Final = 0.2
"""Between two looks at who serves what while something is not as it should be."""
OPEN_SECONDS: Final = 2.0
"""A channel whose opening is not answered within this is opened again, if its node is there."""
RETRY_SECONDS: Final = 0.4
"""The same when the answer was that it cannot be opened just now."""
PUBLISH_SECONDS: Final = 2.0
"""How long an event follows a slot that is moving before its publisher is told that it was not confirmed."""

Announces = Callable[[str, str], bool]
"""Whether the main Redis announces something to the members of (app id, channel)."""


class _Open:
    """An open channel: where it is, who listens, and until when its opening may stay unanswered."""

    __slots__ = ("again_at", "is_beside", "listener", "node", "slot", "target")

    def __init__(self, slot: int, listener: BrokerListener, target: object) -> None:
        self.slot = slot
        self.listener = listener
        self.target = target
        self.node: ShardBroker | None = None
        self.again_at = float("inf")
        self.is_beside = False


class ClusterBroker(ShardOwner):
    """See `base.Broker`. `run()` follows the Cluster until cancelled; `main` is run by its owner."""

    def __init__(
        self,
        address: ClusterAddress,
        main: RedisBroker,
        listener: ChannelListener,
        limits_for: LimitsFor,
        announces: Announces,
        *,
        probe_seconds: float = 5.0,
        use_native: bool = True,
    ) -> None:
        self._address = address
        self._main = main
        self._listener = listener
        self._limits_for = limits_for
        self._announces = announces
        self._probe_seconds = probe_seconds
        self._use_native = use_native
        self._topology: Topology | None = None
        self._nodes: dict[NodePlace, ShardBroker] = {}
        self._tasks: dict[NodePlace, asyncio.Task[None]] = {}
        self._owners: list[ShardBroker | None] = [None] * CHANNEL_SLOTS
        self._open: dict[tuple[str, str], _Open] = {}
        self._unanswered: set[tuple[str, str]] = set()
        self._refused: set[int] = set()
        self._again: list[Callable[[], None]] = []
        self._look = asyncio.Event()
        self._now = asyncio.get_running_loop().time

    @property
    def nodes(self) -> int:
        """How many masters serve slots."""
        return len(self._nodes)

    @property
    def nodes_connected(self) -> int:
        """To how many of them this process is connected."""
        return sum(node.is_connected for node in self._nodes.values())

    @property
    def is_connected(self) -> bool:
        """Whether the main Redis and every master answer."""
        return self._main.is_connected and 0 < self.nodes == self.nodes_connected

    @property
    def is_usable(self) -> bool:
        """Whether new connections can be served here: with more than half of the masters, as the Cluster itself."""
        return self._main.is_connected and 2 * self.nodes_connected > self.nodes

    def commander_of(self, app_id: str, channel: str) -> RespConnection | None:
        """The connection for commands about a channel's keys, or None while the server that has them is away."""
        node = self._owner(app_id, channel)
        return node.commander if node is not None else None

    def _owner(self, app_id: str, channel: str) -> ShardBroker | None:
        return self._owners[channel_slot(app_id, channel)]

    # --- what the gateway asks ------------------------------------------------------------------------------------

    def open(self, app_id: str, channel: str, listener: BrokerListener | None = None, *, target: object = None) -> None:
        """See `base.Broker.open`."""
        entry = _Open(channel_slot(app_id, channel), listener or self._listener, target)
        self._open[app_id, channel] = entry
        if self._announces(app_id, channel):
            entry.is_beside = True
            self._main.hear(app_id, channel, self)
        else:
            self._place((app_id, channel), entry)

    def close(self, app_id: str, channel: str) -> None:
        """See `base.Broker.close`."""
        entry = self._open.pop((app_id, channel), None)
        self._unanswered.discard((app_id, channel))
        if entry is not None:
            if entry.node is not None:
                entry.node.close(app_id, channel)
            if entry.is_beside:
                self._main.unhear(app_id, channel)

    def apps_changed(self) -> None:
        """Applications have other options: hear what the main Redis announces for them from now on."""
        for (app_id, channel), entry in self._open.items():
            if not entry.is_beside and self._announces(app_id, channel):
                entry.is_beside = True
                self._main.hear(app_id, channel, self)

    def read_history(self, app_id: str, channel: str, after: int, done: Callable[[HistoryPage | None], None]) -> None:
        """See `base.Broker.read_history`."""
        node = self._owner(app_id, channel)
        if node is None:
            asyncio.get_running_loop().call_soon(done, None)
        else:
            node.read_history(app_id, channel, after, done)

    def save_position(self, app_id: str, channel: str, client_id: str, position: Position) -> None:
        """See `base.Broker.save_position`."""
        if (node := self._owner(app_id, channel)) is not None:
            node.save_position(app_id, channel, client_id, position)

    def load_position(self, app_id: str, channel: str, client_id: str, done: Callable[[Position | None], None]) -> None:
        """See `base.Broker.load_position`."""
        node = self._owner(app_id, channel)
        if node is None:
            self.again(lambda: self.load_position(app_id, channel, client_id, done))
        else:
            node.load_position(app_id, channel, client_id, done)

    def forget_position(self, app_id: str, channel: str, client_id: str) -> None:
        """See `base.Broker.forget_position`."""
        if (node := self._owner(app_id, channel)) is not None:
            node.forget_position(app_id, channel, client_id)

    def read_denial(self, app_id: str, channel: str, socket_id: str, done: Callable[[bool], None]) -> None:
        """See `base.Broker.read_denial`: denials are beside the grants, on the main Redis."""
        self._main.read_denial(app_id, channel, socket_id, done)

    def publish_durable(
        self, app_id: str, channel: str, events: Sequence[DurableEvent], cache_ms: int, done: PublishHandler
    ) -> None:
        """See `base.Broker.publish_durable`. An event follows a slot that is moving for PUBLISH_SECONDS."""
        until = self._now() + PUBLISH_SECONDS

        def ended(failure: Exception | None) -> None:
            if is_redirection(failure) and self._now() < until:
                self.again(publish)
            else:
                done(failure)

        def publish() -> None:
            node = self._owner(app_id, channel)
            if node is None:
                asyncio.get_running_loop().call_soon(
                    done, ConnectionError("no node of the Cluster serves this channel")
                )
            else:
                node.publish_durable(app_id, channel, events, cache_ms, ended)

        publish()

    def publish_transient(self, app_id: str, channel: str, message: bytes) -> bool:
        """See `base.Broker.publish_transient`."""
        node = self._owner(app_id, channel)
        return node is not None and node.publish_transient(app_id, channel, message)

    # --- what the nodes say ---------------------------------------------------------------------------------------

    def place(self, app_id: str, channel: str) -> Place:
        """See `base.BrokerListener.place`."""
        entry = self._open.get((app_id, channel))
        return entry.listener.place(app_id, channel) if entry is not None else Place()

    def opened(self, app_id: str, channel: str, place: Place, *, reaches: bool) -> None:
        """See `base.BrokerListener.opened`."""
        entry = self._open.get((app_id, channel))
        if entry is not None:
            entry.again_at = float("inf")
            self._unanswered.discard((app_id, channel))
            entry.listener.opened(app_id, channel, place, reaches=reaches)

    def published(self, app_id: str, channel: str, publication: Publication) -> None:
        """See `base.BrokerListener.published`: from the channel's node, or from the main Redis."""
        entry = self._open.get((app_id, channel))
        if entry is not None:
            entry.listener.published(app_id, channel, publication)

    def arrived(self, arrivals: list[Arrival]) -> None:
        """See `base.ChannelListener.arrived`."""
        self._listener.arrived(arrivals)

    def commanded(self, app_id: str, command: Command) -> None:
        """See `base.BrokerListener.commanded`."""
        self._listener.commanded(app_id, command)

    def heard(self, app_id: str, channel: str) -> None:
        """See `redis.BesideListener.heard`. After an outage the channel is opened anew: something may have changed."""
        entry = self._open.get((app_id, channel))
        if entry is not None:
            self._place((app_id, channel), entry)

    def misplaced(self, app_id: str, channel: str) -> None:
        """See `ShardOwner.misplaced`."""
        entry = self._open.get((app_id, channel))
        if entry is not None:
            entry.again_at = min(entry.again_at, self._now() + RETRY_SECONDS)
            self._unanswered.add((app_id, channel))
        self._look.set()

    def refused(self, slot: int) -> None:
        """See `ShardOwner.refused`."""
        self._refused.add(slot)
        self._look.set()

    def again(self, work: Callable[[], None]) -> None:
        """See `ShardOwner.again`."""
        self._again.append(work)

    # --- where channels are ---------------------------------------------------------------------------------------

    def _place(self, key: tuple[str, str], entry: _Open) -> None:
        """Open a channel where its slot is now, which may be where it is open already."""
        node = self._owners[entry.slot]
        if entry.node is not None and entry.node is not node:
            entry.node.close(*key)
        entry.node = node
        entry.again_at = self._now() + OPEN_SECONDS
        self._unanswered.add(key)
        if node is not None:
            node.open(*key, self, target=entry.target)

    def _reopen(self) -> None:
        """Open again what was refused, and what stayed unanswered although its node is there."""
        now = self._now()
        if self._refused:
            refused, self._refused = self._refused, set()
            for key, entry in self._open.items():
                if entry.slot in refused and entry.node is not None and key not in self._unanswered:
                    self._place(key, entry)
        for key in list(self._unanswered):
            entry = self._open[key]
            if now >= entry.again_at and (node := self._owners[entry.slot]) is not None and node.is_connected:
                self._place(key, entry)

    def _repeat(self) -> None:
        waiting, self._again = self._again, []
        for work in waiting:
            work()

    # --- following the Cluster ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look who serves what, now and then and whenever something points at a change; ends by cancellation only."""
        failures = 0
        try:
            while True:
                live = {place: node.commander for place, node in self._nodes.items() if node.commander is not None}
                found = await ask_topology(self._address, live, is_all=len(live) == len(self._nodes) > 0)
                if found is None:
                    failures += 1
                    if failures in (1, 10) or failures % 600 == 0:
                        _log.warning("cluster.unreachable", failures=failures, seeds=str(self._address))
                else:
                    failures = 0
                    for gone in self._adopt(found):
                        await gone.aclose()
                self._reopen()
                self._repeat()
                await self._until_it_is_time()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _until_it_is_time(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS if self._is_troubled() else self._probe_seconds):
                await self._look.wait()
        except TimeoutError:
            return
        self._look.clear()
        await asyncio.sleep(LOOK_SECONDS * random.uniform(0.2, 0.5))  # noqa: S311 - jitter; takes in what comes together

    def _is_troubled(self) -> bool:
        """Whether a node is away, or something waits for longer than it takes to answer."""
        soon = self._now() + RETRY_SECONDS
        return (
            bool(self._again)
            or not 0 < self.nodes == self.nodes_connected
            or any(self._open[key].again_at <= soon for key in self._unanswered)
        )

    def _adopt(self, found: Topology) -> list[ShardBroker]:
        """Move channels to where their slots are now. Returns the nodes that serve nothing any more."""
        known = self._topology
        if known is not None and found.ranges == known.ranges:
            return []
        self._topology = found
        _log.info("cluster.slots", masters=len(found.masters), slots=found.slots, epoch=found.epoch)
        for place in found.masters - self._nodes.keys():
            node = ShardBroker(
                self._address.node(place),
                self,
                self._limits_for,
                self,
                probe_seconds=self._probe_seconds,
                use_native=self._use_native,
            )
            self._nodes[place] = node
            self._tasks[place] = asyncio.get_running_loop().create_task(node.run())
        gone = []
        for place in self._nodes.keys() - found.masters:
            gone.append(self._nodes.pop(place))
            self._tasks.pop(place).cancel()
        self._own(found)
        for key, entry in self._open.items():
            if entry.node is not self._owners[entry.slot] and (entry.node is not None or key in self._unanswered):
                self._place(key, entry)
        return gone

    def _own(self, found: Topology) -> None:
        serving = set(self._nodes.values())
        owners: list[ShardBroker | None] = [None] * CHANNEL_SLOTS
        for first, last, place in found.ranges:
            owners[first : last + 1] = [self._nodes[place]] * (last + 1 - first)
        heirs = {
            heir
            for before, heir in zip(self._owners, owners, strict=True)
            if heir is not None and before is not None and before not in serving
        }
        for heir in heirs:
            heir.doubt()
        self._owners = owners

    async def aclose(self) -> None:
        """Drop all connections; `run` is to be cancelled by its owner."""
        for node in self._nodes.values():
            await node.aclose()
