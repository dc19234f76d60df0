"""redis-py clients of a Redis Cluster: one for each master, so that the caller sees each node's failures by itself.

redis-py's own cluster client hides which node failed, tries again by itself and holds all up for one; a relay has to
know, so that it goes on with the others.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from .redis import create_redis
from .redis_address import ClusterAddress, Place
from .redis_cluster import SLOTS, Topology, newest, read_topology

_ASK_SECONDS: Final = 1.0


class NoOwnerError(RedisConnectionError):
    """No node that answers serves this slot, or none knows who does."""


class ClusterClients:
    """Knows the masters. `refresh` asks for them; nothing connects before."""

    def __init__(self, address: ClusterAddress, *, retries: int = 0, timeout_seconds: float = 3.0) -> None:
        self._address = address
        self._options = {"retries": retries, "timeout_seconds": timeout_seconds}
        self._clients: dict[Place, Redis] = {}
        self.topology: Topology | None = None

    def owner(self, slot: int) -> Place:
        """The master that serves a slot, as of the last `refresh`. Raises: NoOwnerError."""
        place = self.topology.owner(slot) if self.topology is not None else None
        if place is None:
            msg = f"no node of the Cluster ({self._address}) serves slot {slot}"
            raise NoOwnerError(msg)
        return place

    def client(self, place: Place) -> Redis:
        """The client of one node."""
        client = self._clients.get(place)
        if client is None:
            client = self._clients[place] = create_redis(self._address.node_url(place), **cast("Any", self._options))
        return client

    async def refresh(self) -> Topology:
        """Ask all known nodes who serves what. Raises: NoOwnerError when none answers."""
        known = self.topology
        places = dict.fromkeys((*(known.masters | known.replicas if known else ()), *self._address.seeds))
        found = newest(await asyncio.gather(*(self._ask(place) for place in places)))
        if found is None:
            msg = f"no node of the Cluster answers: {', '.join(f'{host}:{port}' for host, port in places)}"
            raise NoOwnerError(msg)
        self.topology = found
        for place in self._clients.keys() - found.masters:
            await self._clients.pop(place).aclose()
        return found

    async def check(self) -> None:
        """Whether somebody serves every slot and all of them answer. Raises: NoOwnerError, what the network raises."""
        known = await self.refresh()
        if known.slots < SLOTS:
            msg = f"{SLOTS - known.slots} slots of the Cluster ({self._address}) are served by nobody"
            raise NoOwnerError(msg)
        await asyncio.gather(*(self.client(place).ping() for place in known.masters))

    async def _ask(self, place: Place) -> Topology | None:
        client = self._clients.get(place) or create_redis(
            self._address.node_url(place), retries=0, timeout_seconds=_ASK_SECONDS
        )
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                slots = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
                info = await client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
        except (RedisError, OSError, TimeoutError):
            return None
        finally:
            if self._clients.get(place) is not client:
                with contextlib.suppress(RedisError, OSError):
                    await client.aclose()
        return read_topology(slots, info, place)

    async def aclose(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
