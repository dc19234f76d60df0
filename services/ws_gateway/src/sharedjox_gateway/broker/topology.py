"""Asking the nodes of a Redis Cluster who serves what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import hiredis
from sharedjox_kit.redis_address import ClusterAddress, Place
from sharedjox_kit.redis_cluster import Topology, newest, read_topology

from .resp import RespConnection, connect

_ASK_SECONDS: Final = 1.0


async def ask_topology(
    address: ClusterAddress, live: Mapping[Place, RespConnection], *, is_all: bool
) -> Topology | None:
    """What the nodes say by `live` connections; unless those are all there are, the others are asked too.

    None when nobody answers.
    """
    asked = [_ask(place, connection) for place, connection in live.items()]
    if not is_all:
        asked += [_ask_anew(address, place) for place in address.seeds if place not in live]
    return newest(await asyncio.gather(*asked))


async def _ask(place: Place, connection: RespConnection) -> Topology | None:
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            slots, info = await asyncio.gather(connection.call("CLUSTER", "SLOTS"), connection.call("CLUSTER", "INFO"))
        return read_topology(slots, bytes(info), place)
    except (OSError, TimeoutError, hiredis.HiredisError, ValueError):  # the last: an answer of another form
        return None


async def _ask_anew(address: ClusterAddress, place: Place) -> Topology | None:
    try:
        connection = await connect(address.node(place), lambda _reply: None, lambda: None, timeout_seconds=_ASK_SECONDS)
    except (OSError, TimeoutError, hiredis.HiredisError):
        return None
    try:
        return await _ask(place, connection)
    finally:
        connection.abort()
