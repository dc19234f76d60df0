"""The relay on a Redis Cluster: in order on every master, one that fails holds up its own channels only."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.control import SessionRevoked
from sharedjox_contracts.redis_layout import HistoryLimits, channel_slot, log_key
from sharedjox_kit.cluster_clients import ClusterClients
from sharedjox_kit.redis_address import parse_cluster_url
from sharedjox_outbox.publisher import EventPublisher
from sharedjox_outbox.relay import Relay
from sharedjox_outbox.writer import OutboxEvent

from tests.support.polling import eventually
from tests.support.redis_cluster import ClusterNode, RedisCluster, channels_on_each, in_thread, running_cluster

from .conftest import APP, Outbox, drain_until_idle, history, history_numbers, wallet_event


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@dataclass(slots=True)
class Relaying:
    """A relay, the cluster it publishes to, and a channel on each of its masters."""

    outbox: Outbox
    relay: Relay
    cluster: RedisCluster
    clients: ClusterClients
    channels: list[str]

    async def publish(self, *numbers: int, to: str | None = None) -> None:
        """Commit an event for each number, on every master's channel, and relay them."""
        await self.outbox.add(*(wallet_event(number, *([to] if to else self.channels)) for number in numbers))
        await drain_until_idle(self.relay)

    def redis(self, channel: str) -> Redis:
        """The master of a channel."""
        return self.clients.client(self.clients.owner(channel_slot(APP, channel)))

    async def numbers(self, channel: str) -> list[int]:
        """What stands in a channel's history."""
        await self.clients.refresh()
        return await history_numbers(self.redis(channel), channel)


@pytest.fixture
async def relaying(outbox: Outbox, redis: Redis, cluster: RedisCluster) -> AsyncIterator[Relaying]:
    await in_thread(cluster.flush)
    clients = ClusterClients(parse_cluster_url(cluster.url))
    relay = outbox.relay(redis, channels=clients)
    yield Relaying(outbox, relay, cluster, clients, channels_on_each(cluster, APP, "private-user.1"))
    await relay.aclose()
    await clients.aclose()


async def brought_back(node: ClusterNode, cluster: RedisCluster) -> None:
    node.start()  # in this thread: a server ends with the thread that started it
    await in_thread(cluster.settle)


async def test_events_reach_every_master_in_order_and_once(relaying: Relaying) -> None:
    await relaying.publish(*range(1, 301))
    for channel in relaying.channels:
        assert await relaying.numbers(channel) == list(range(1, 301))
    owners = [relaying.cluster.owner_of(APP, channel) for channel in relaying.channels]
    assert len({owner.port for owner in owners}) == 3
    for owner, channel in zip(owners, relaying.channels, strict=True):
        assert owner.ask("XLEN", log_key(APP, channel)) == 300, "in one place, the master's"


async def test_a_slot_that_moves_away_and_back(relaying: Relaying) -> None:
    channel, other = relaying.channels[:2]
    slot = channel_slot(APP, channel)
    home, away = (relaying.cluster.owner_of(APP, name) for name in (channel, other))
    await relaying.publish(1, 2)
    await in_thread(relaying.cluster.move_slot, slot, away)
    await relaying.publish(3, 4)
    await in_thread(relaying.cluster.move_slot, slot, home)
    await relaying.publish(5)
    for name in relaying.channels:
        assert await relaying.numbers(name) == [1, 2, 3, 4, 5]


async def test_events_go_on_while_slots_are_moving(relaying: Relaying) -> None:
    channel, other = relaying.channels[:2]
    slot = channel_slot(APP, channel)
    home, away = (relaying.cluster.owner_of(APP, name) for name in (channel, other))
    is_over = False

    async def commit() -> int:
        number = 0
        while not is_over and number < HistoryLimits().length:
            number += 1
            await relaying.outbox.add(wallet_event(number, *relaying.channels))
        return number

    async def relay() -> None:
        while not is_over:
            await drain_until_idle(relaying.relay)

    committing, draining = asyncio.create_task(commit()), asyncio.create_task(relay())
    for target in (away, home) * 5:
        await in_thread(relaying.cluster.move_slot, slot, target)
    is_over = True
    last = await committing
    await draining
    await drain_until_idle(relaying.relay)
    for name in relaying.channels:
        assert await relaying.numbers(name) == list(range(1, last + 1))


async def test_a_slot_half_moved_holds_up_its_own_channel_only(relaying: Relaying) -> None:
    channel, other = relaying.channels[:2]
    slot = channel_slot(APP, channel)
    home, away = (relaying.cluster.owner_of(APP, name) for name in (channel, other))
    await relaying.publish(1)
    away.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", home.id)
    home.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", away.id)
    try:
        await relaying.outbox.add(wallet_event(2, *relaying.channels))
        await relaying.relay.drain()
        assert await relaying.outbox.states() == ["published"] * 3 + ["pending", "published", "published"]
    finally:
        for node in (home, away):
            node.ask("CLUSTER", "SETSLOT", slot, "STABLE")
    await drain_until_idle(relaying.relay)
    assert await relaying.numbers(channel) == [1, 2]
    assert await relaying.outbox.sql("SELECT max(attempts) FROM outbox_messages") == [(0,)]


@pytest.mark.parametrize("loses_its_data", [False, True])
async def test_a_master_that_dies_holds_up_its_own_channels_only(relaying: Relaying, loses_its_data: bool) -> None:
    channel, *others = relaying.channels
    victim = relaying.cluster.owner_of(APP, channel)
    await relaying.publish(1, 2)
    epoch = (await history(relaying.redis(channel), channel))[0].epoch
    await in_thread(victim.process.kill)
    await relaying.outbox.add(wallet_event(3, *relaying.channels))
    await relaying.relay.drain()
    for name in others:
        assert await relaying.numbers(name) == [1, 2, 3]
    assert (await relaying.outbox.states())[-3:] == ["pending", "published", "published"]
    await brought_back(victim, relaying.cluster)
    if loses_its_data:
        await in_thread(victim.flush)
    await drain_until_idle(relaying.relay)
    assert await relaying.numbers(channel) == [1, 2, 3]
    assert ((await history(relaying.redis(channel), channel))[0].epoch == epoch) == (not loses_its_data)
    assert await relaying.outbox.sql("SELECT max(attempts) FROM outbox_messages") == [(0,)], "not the row's fault"


async def test_one_that_hangs_holds_up_its_own_channels_only(relaying: Relaying) -> None:
    channel, *others = relaying.channels
    victim = relaying.cluster.owner_of(APP, channel)
    await relaying.publish(1)
    victim.process.send_signal(signal.SIGSTOP)
    try:
        for number in (2, 3):
            await relaying.outbox.add(wallet_event(number, *relaying.channels))
            await relaying.relay.drain()
            for name in others:
                assert await history_numbers(relaying.redis(name), name) == list(range(1, number + 1))
    finally:
        victim.process.send_signal(signal.SIGCONT)
    await in_thread(relaying.cluster.settle)
    await drain_until_idle(relaying.relay)
    assert await relaying.numbers(channel) == [1, 2, 3]


async def test_commands_are_repeated_when_the_main_redis_has_forgotten(relaying: Relaying, redis: Redis) -> None:
    async def is_trusted() -> bool:
        await relaying.publish(7)
        return await EventPublisher(redis, app_id=APP).is_history_trusted()

    await eventually(is_trusted, 20, what="an empty Redis is trusted")
    await relaying.outbox.add(OutboxEvent(SessionRevoked(session_id="s"), (relaying.channels[0],)))
    await relaying.publish(1)
    assert relaying.outbox.controls == [SessionRevoked(session_id="s")]
    before = await relaying.numbers(relaying.channels[0])
    await redis.script_flush()
    await eventually(is_trusted, 20, what="it is trusted again")
    assert relaying.outbox.controls == [SessionRevoked(session_id="s")] * 2
    assert (await relaying.numbers(relaying.channels[0]))[: len(before)] == before, "its channels were not in doubt"
