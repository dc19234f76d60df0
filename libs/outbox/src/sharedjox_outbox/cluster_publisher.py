"""Publishing to a Redis Cluster: each channel at the master that serves it, all masters at once.

Every master has a history, an outage and doubts of its own. Steps of a node that is away fail at once, until a task
beside the relay has seen it answer: one that hangs must not hold up the others once for each claim. Commands to the
gateways stay on the Redis of REDIS_URL (`main`), whose restart is noticed here as well.
Source: docs/adr/0034-channels-on-a-cluster.md
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from sharedjox_contracts.redis_layout import CHANNEL_SLOTS, channel_slot
from sharedjox_kit.cluster_clients import ClusterClients, NoOwnerError
from sharedjox_kit.ending import end_tasks
from sharedjox_kit.logs import get_logger
from sharedjox_kit.redis_address import Place
from sharedjox_kit.redis_cluster import Topology

from .preparation import ControlStep, EventStep, Step
from .publisher import EventPublisher, HistoryInDoubtError, StepResult

log = get_logger(__name__)

MAIN: Final[Place] = ("", 0)
"""Stands for the Redis of REDIS_URL among those whose history is in doubt."""
NOBODY: Final[Place] = ("-", 0)
"""Stands for the master of slots that nobody serves."""
_REDIRECTIONS: Final = 3
_PROBE_SECONDS: Final = 0.25
_AWAY: Final = (RedisError, OSError, TimeoutError)


class NodeAwayError(RedisConnectionError):
    """The master that serves this channel does not answer."""


def _has_moved(result: StepResult) -> bool:
    """Whether another node serves this channel by now; redis-py has no class of its own for that here."""
    return isinstance(result, ResponseError) and str(result).startswith("MOVED ")


class ClusterPublisher:
    """Implements `Publisher`."""

    def __init__(self, clients: ClusterClients, main: EventPublisher, *, app_id: str) -> None:
        self._clients = clients
        self._main = main
        self._app_id = app_id
        self._publishers: dict[Place, EventPublisher] = {}
        self._doubtful: set[Place] = set()
        self._repairing: frozenset[Place] = frozenset()
        """Those of `_doubtful` that were in it when the repair under way began."""
        self._away: dict[Place, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def is_divided(self) -> bool:
        """See `Publisher.is_divided`."""
        known = self._clients.topology
        return known is not None and bool(known.masters - self._away.keys())

    @property
    def is_in_doubt(self) -> bool:
        """See `Publisher.is_in_doubt`."""
        return bool(self._doubtful)

    def is_doubtful(self, step: Step) -> bool:
        """See `Publisher.is_doubtful`."""
        if isinstance(step, ControlStep):
            return MAIN in self._repairing
        return self._owner(step.channel) in self._repairing

    async def publish(self, steps: Sequence[EventStep], *, repeating: bool = False) -> list[StepResult]:
        """See `Publisher.publish`; nothing is raised for a node: its steps have the error as their result."""
        if self._clients.topology is None:
            await self._refresh()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch_main())
        results: dict[int, StepResult] = {}
        left = list(range(len(steps)))
        for _ in range(_REDIRECTIONS):
            results |= await self._publish_once(steps, left, repeating)
            left = [at for at in left if _has_moved(results[at])]
            if not left:
                break
            await self._refresh()
        return [results[at] for at in range(len(steps))]

    async def _publish_once(
        self, steps: Sequence[EventStep], chosen: Iterable[int], repeating: bool
    ) -> dict[int, StepResult]:
        by_place: defaultdict[Place | None, list[int]] = defaultdict(list)
        for at in chosen:
            by_place[self._owner(steps[at].channel)].append(at)
        answers = await asyncio.gather(
            *(self._publish_at(place, [steps[at] for at in places], repeating) for place, places in by_place.items())
        )
        return {
            at: result
            for places, results in zip(by_place.values(), answers, strict=True)
            for at, result in zip(places, results, strict=True)
        }

    async def _publish_at(self, place: Place | None, steps: Sequence[EventStep], repeating: bool) -> list[StepResult]:
        error: Exception
        if place is None:
            error = NoOwnerError("no node of the Cluster serves this channel")
            self._miss(NOBODY, error)
        elif place in self._away:
            error = NodeAwayError(f"{place[0]}:{place[1]} is away")
        else:
            try:
                return await self._at(place).publish(steps, repeating=repeating)
            except HistoryInDoubtError as doubt:
                self._doubtful.add(place)
                error = doubt
            except _AWAY as outage:
                self._miss(place, outage)
                error = outage
        return [error] * len(steps)

    def _owner(self, channel: str) -> Place | None:
        known = self._clients.topology
        return known.owner(channel_slot(self._app_id, channel)) if known is not None else None

    def _at(self, place: Place) -> EventPublisher:
        found = self._publishers.get(place)
        if found is None:
            found = EventPublisher(self._clients.client(place), app_id=self._app_id, sharded=True)
            self._publishers[place] = found
        return found

    # --- nodes that are away ----------------------------------------------------------------------------------------

    def _miss(self, place: Place, error: Exception) -> None:
        if place not in self._away:
            log.warning("outbox.node_away", node=f"{place[0]}:{place[1]}", error=f"{type(error).__name__}: {error}")
            self._away[place] = asyncio.create_task(self._wait_for(place))

    async def _wait_for(self, place: Place) -> None:
        try:
            while True:
                if await self._is_back(place):
                    break
                await asyncio.sleep(_PROBE_SECONDS)
        finally:
            del self._away[place]
        log.info("outbox.node_back", node=f"{place[0]}:{place[1]}")

    async def _is_back(self, place: Place) -> bool:
        """Whether the node answers again, or others serve what it served."""
        try:
            known = await self._refresh()
            if place == NOBODY:
                return known.slots == CHANNEL_SLOTS
            if place in known.masters:
                async with asyncio.timeout(4 * _PROBE_SECONDS):
                    await self._clients.client(place).ping()
        except _AWAY:
            return False
        return True

    async def _refresh(self) -> Topology:
        known = await self._clients.refresh()
        for gone in self._publishers.keys() - known.masters:
            del self._publishers[gone]
        return known

    async def _watch_main(self) -> None:
        """Notice that the main Redis may have forgotten commands: beside publishing, which need not wait for it."""
        try:
            if not await self._main.is_history_trusted():
                self._doubtful.add(MAIN)
        except _AWAY:
            return

    # --- making history good ----------------------------------------------------------------------------------------

    async def begin_repeating(self) -> None:
        """See `Publisher.begin_repeating`."""
        self._repairing = frozenset(self._doubtful)
        await self._for_doubtful(lambda publisher: publisher.begin_repeating())

    async def is_history_trusted(self) -> bool:
        """See `Publisher.is_history_trusted`."""
        trusted: set[Place] = set()

        async def ask(place: Place, publisher: EventPublisher) -> None:
            if await publisher.is_history_trusted():
                trusted.add(place)

        await self._for_doubtful_places(ask)
        self._doubtful -= trusted
        self._repairing -= trusted
        return not self._repairing

    async def restart_history_unless_it_has(self, channel: str, event_id: str) -> bool:
        """See `Publisher.restart_history_unless_it_has`."""
        place = self._clients.owner(channel_slot(self._app_id, channel))
        return await self._at(place).restart_history_unless_it_has(channel, event_id)

    async def trust_history(self) -> None:
        """See `Publisher.trust_history`."""
        await self._for_doubtful(lambda publisher: publisher.trust_history())
        self._doubtful -= self._repairing
        self._repairing = frozenset()

    async def _for_doubtful(self, work: Callable[[EventPublisher], Awaitable[None]]) -> None:
        async def do(_place: Place, publisher: EventPublisher) -> None:
            await work(publisher)

        await self._for_doubtful_places(do)

    async def _for_doubtful_places(self, work: Callable[[Place, EventPublisher], Awaitable[None]]) -> None:
        """Do something at each node in doubt. One that is away by now is left for its return: it will be in doubt."""
        for place in self._repairing:
            try:
                await work(place, self._main if place == MAIN else self._at(place))
            except _AWAY as outage:
                self._doubtful.discard(place)
                self._repairing -= {place}
                if place != MAIN:
                    self._miss(place, outage)

    async def aclose(self) -> None:
        """End what runs beside the relay. The clients are the caller's."""
        await end_tasks(*self._away.values(), *([self._watching] if self._watching is not None else []))
