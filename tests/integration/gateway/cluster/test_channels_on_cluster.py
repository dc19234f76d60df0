"""Gateways whose channels are on a Redis Cluster: all kinds of events on all masters, moving slots, lost masters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.redis_layout import channel_slot, log_key
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, Clients, GatewayNode, PusherClient, TestApp, pusher_client, running_gateways
from tests.support.http_api import call, trigger
from tests.support.polling import eventually
from tests.support.processes import clean_environment, python_module
from tests.support.redis_cluster import ClusterNode, RedisCluster, channels_on_each, in_thread, running_cluster
from tests.support.tcp_client import dialled

COUNTING = TestApp(id="1006", key="counting", secret="secret-of-the-counting-app")
"""Announces subscription counts."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Two gateways over one Redis, and the cluster that their channels are on."""

    nodes: list[GatewayNode]
    cluster: RedisCluster


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[Servers]:
    shared_redis_server.flush()
    folder = tmp_path_factory.mktemp("clustered")
    apps = [APP.config(), COUNTING.config(subscription_counts=True)]
    with running_cluster(folder) as cluster:
        env = {"REDIS_CHANNELS_URL": cluster.url, "REDIS_PROBE_SECONDS": "0.5"}
        with running_gateways(folder, shared_redis_server.url, apps=apps, env=env) as nodes:
            yield Servers(nodes, cluster)


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    yield opened
    await opened.close()


async def publish(node: GatewayNode, channel: str, number: int) -> None:
    """Publish until it is confirmed, as a publisher does that names its events."""

    async def is_confirmed() -> bool:
        answer = await call(
            node,
            "POST",
            "/events",
            {"name": "numbered", "channels": [channel], "data": str(number), "event_id": f"{channel}-{number}"},
        )
        assert answer.status in (200, 503), answer.body
        return answer.status == 200

    await eventually(is_confirmed, 30, what=f"event {number} on {channel} is confirmed")


def heard(client: PusherClient, channel: str) -> list[int]:
    return [int(frame.data) for frame in client.of("numbered", channel)]


async def hears(client: PusherClient, channel: str, numbers: list[int]) -> None:
    await eventually(
        lambda: len(heard(client, channel)) >= len(numbers), 30, what=f"{len(numbers)} events on {channel}"
    )
    assert heard(client, channel) == numbers


async def everywhere(node: GatewayNode, up: int) -> None:
    async def is_so() -> bool:
        return await node.metric("sharedjox_gateway_channel_servers_connected") == up

    await eventually(is_so, 30, what=f"{up} masters are connected")


async def brought_back(node: ClusterNode, cluster: RedisCluster) -> None:
    node.start()  # in this thread: a server ends with the thread that started it
    await in_thread(cluster.settle)


async def test_events_of_every_master_reach_both_gateways_once_and_are_recovered(
    servers: Servers, clients: Clients
) -> None:
    first, second = servers.nodes
    channels = channels_on_each(servers.cluster, APP.id, "private-spread-")
    listeners = [await clients.open(node) for node in (first, second)]
    for client in listeners:
        for channel in channels:
            await client.subscribe(channel)
    for number in range(1, 21):
        for channel in channels:
            await publish((first, second)[number % 2], channel, number)
    for client in listeners:
        for channel in channels:
            await hears(client, channel, list(range(1, 21)))
    for channel in channels:
        late = await clients.open(first)
        sixth = listeners[0].of("numbered", channel)[5].message
        back = await late.subscribe(channel, recover={"epoch": sixth["epoch"], "offset": sixth["offset"]})
        assert (back["recovered"], back["replayed"]) == (True, 14)
        await hears(late, channel, list(range(7, 21)))
        owner = servers.cluster.owner_of(APP.id, channel)
        assert owner.ask("XLEN", log_key(APP.id, channel)) == 20


async def test_one_request_to_channels_of_all_masters(servers: Servers, clients: Clients) -> None:
    channels = channels_on_each(servers.cluster, APP.id, "at-once-")
    client = await clients.open(servers.nodes[1])
    for channel in channels:
        await client.subscribe(channel)
    assert (await trigger(servers.nodes[0], channels, "numbered", "1")).status == 200
    for channel in channels:
        await hears(client, channel, [1])


async def test_rosters_counts_client_events_and_cached_events(servers: Servers, clients: Clients) -> None:
    first, second = servers.nodes
    for channel in channels_on_each(servers.cluster, APP.id, "presence-room-"):
        one, other = await clients.open(first), await clients.open(second)
        await one.subscribe(channel, user_id="1")
        roster = await other.subscribe(channel, user_id="2")
        assert set(roster["presence"]["ids"]) == {"1", "2"}
        await one.wait_for("pusher_internal:member_added", channel=channel)
        await other.send("client-typing", {"a": 1}, channel)
        assert (await one.wait_for("client-typing", channel=channel)).user_id == "2"
        await other.close()
        await one.wait_for("pusher_internal:member_removed", channel=channel)
    for channel in channels_on_each(servers.cluster, APP.id, "private-cache-news-"):
        assert (await trigger(first, channel, "numbered", "7")).status == 200
        late = await clients.open(second)
        await late.subscribe(channel)
        await hears(late, channel, [7])
        shown = await call(first, "GET", f"/channels/{channel}", query={"info": "cache"})
        assert shown.json["cache"]["data"] == "7"
    for channel in channels_on_each(servers.cluster, COUNTING.id, "counted-"):
        counted = [await clients.open(node, COUNTING) for node in servers.nodes]
        for client in counted:
            await client.subscribe(channel)
        for client in counted:
            await eventually(lambda client=client: counts(client)[-1:] == [2], what="both hear that they are two")


def counts(client: PusherClient) -> list[int]:
    return [frame.data["subscription_count"] for frame in client.of("pusher_internal:subscription_count")]


async def test_a_slot_moves_while_events_flow(servers: Servers, clients: Clients) -> None:
    """To another master and back, several times: nothing is lost, doubled or out of order on either gateway."""
    channel, other, _ = channels_on_each(servers.cluster, APP.id, "private-moving-")
    slot = channel_slot(APP.id, channel)
    home, away = (servers.cluster.owner_of(APP.id, name) for name in (channel, other))
    listeners = [await clients.open(node) for node in servers.nodes]
    for client in listeners:
        await client.subscribe(channel)
    is_over = False

    async def flow() -> int:
        number = 0
        while not is_over:
            number += 1
            await publish(servers.nodes[number % 2], channel, number)
        return number

    flowing = asyncio.create_task(flow())
    for target in (away, home, away):
        before = len(heard(listeners[0], channel))
        await in_thread(servers.cluster.move_slot, slot, target)
        await eventually(lambda before=before: len(heard(listeners[0], channel)) > before + 5, 30, what="events go on")
    is_over = True
    last = await flowing
    for client in listeners:
        await hears(client, channel, list(range(1, last + 1)))
        assert not client.of("pusher_internal:subscription_succeeded", channel)[1:], "nobody was told of a loss"


async def test_a_stock_client_is_found_again_after_its_slot_moved(servers: Servers) -> None:
    channel, other, _ = channels_on_each(servers.cluster, APP.id, "private-tab-")
    first, second = servers.nodes
    tab = {"channel_data": '{"client_id":"tab-1"}'}
    async with pusher_client(first.port) as client:
        await client.subscribe(channel, **tab)
        await publish(second, channel, 1)
        await hears(client, channel, [1])
        node = servers.cluster.owner_of(APP.id, channel)
        seen = f"sj:{{{APP.id}:{channel}}}:seen:tab-1"
        await eventually(lambda: str(node.ask("GET", seen)).endswith(" 1"), what="its position is known")
        await client.abort()
    await publish(second, channel, 2)
    target = servers.cluster.owner_of(APP.id, other)
    await in_thread(servers.cluster.move_slot, channel_slot(APP.id, channel), target)
    async with pusher_client(second.port) as client:
        assert (await client.subscribe(channel, **tab))["recovered"] is True
        await hears(client, channel, [2])


async def test_a_lost_master_holds_up_its_own_channels_only_and_they_go_on_where_they_were(
    servers: Servers, clients: Clients
) -> None:
    channel, *others = channels_on_each(servers.cluster, APP.id, "private-lost-")
    listeners = [await clients.open(node) for node in servers.nodes]
    for client in listeners:
        for name in (channel, *others):
            await client.subscribe(name)
    await publish(servers.nodes[0], channel, 1)
    victim = servers.cluster.owner_of(APP.id, channel)
    await in_thread(victim.process.kill)
    for node in servers.nodes:
        await everywhere(node, 2)
        assert await readiness(node) == 200, "two thirds of the channels are served"
    for name in others:
        await publish(servers.nodes[1], name, 1)
        for client in listeners:
            await hears(client, name, [1])
    assert (await trigger(servers.nodes[0], channel, "numbered", "2")).status == 503
    await brought_back(victim, servers.cluster)
    await publish(servers.nodes[0], channel, 3)
    for client in listeners:
        await hears(client, channel, [1, 3])
        assert not client.of("pusher_internal:subscription_succeeded", channel)[1:], "nobody was told of a loss"
    for node in servers.nodes:
        await everywhere(node, 3)


async def test_a_master_that_comes_back_empty_says_so_on_its_own_channels_only(
    servers: Servers, clients: Clients
) -> None:
    channel, other, _ = channels_on_each(servers.cluster, APP.id, "private-emptied-")
    client = await clients.open(servers.nodes[0])
    for name in (channel, other):
        await client.subscribe(name)
        await publish(servers.nodes[0], name, 1)
        await hears(client, name, [1])
    victim = servers.cluster.owner_of(APP.id, channel)
    await in_thread(victim.flush)
    await in_thread(victim.process.kill)
    await brought_back(victim, servers.cluster)

    async def told() -> bool:
        again = client.of("pusher_internal:subscription_succeeded", channel)
        return len(again) > 1 and again[-1].data["recovered"] is False

    await eventually(told, 30, what="its members are told of the loss")
    assert len(client.of("pusher_internal:subscription_succeeded", other)) == 1
    await publish(servers.nodes[1], channel, 2)
    await hears(client, channel, [1, 2])


async def test_operators_see_channels_and_masters(
    servers: Servers, clients: Clients, shared_redis_server: EmbeddedRedis
) -> None:
    async def sharedjox(*arguments: str) -> str:
        addresses = {"REDIS_URL": shared_redis_server.url, "REDIS_CHANNELS_URL": servers.cluster.url}
        process = await asyncio.create_subprocess_exec(
            *python_module("sharedjox_operator.main"),
            *arguments,
            env=clean_environment() | addresses | {"DATABASE_URL": "postgresql://app@127.0.0.1:1/x"},
            stdout=asyncio.subprocess.PIPE,
        )
        return (await process.communicate())[0].decode()

    channels = channels_on_each(servers.cluster, APP.id, "watched-")
    for channel in channels:
        await (await clients.open(servers.nodes[0])).subscribe(channel)
        await publish(servers.nodes[1], channel, 1)
        await publish(servers.nodes[1], channel, 2)

    async def are_shown() -> bool:
        lines = (await sharedjox("channels", "--prefix", "watched-")).splitlines()
        return {(channel, "1", "2", "2") for channel in channels} <= {tuple(line.split()) for line in lines}

    await eventually(are_shown, 20, what="the subscriber, the two events, the position of each")
    said = await sharedjox("doctor")
    assert "3 masters, 0 replicas, 16384 of 16384 slots served" in said
    for node in servers.cluster.masters:
        assert f"channels 127.0.0.1:{node.port} memory" in said
    assert "REDIS_CHANNELS_URL differs" not in said


async def readiness(node: GatewayNode) -> int:
    """The status of /readyz."""
    async with dialled(node.port) as (reader, writer):
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
        return int((await reader.readline()).split()[1])


async def test_nothing_of_a_channel_is_on_the_main_redis(
    servers: Servers, clients: Clients, shared_redis_server: EmbeddedRedis
) -> None:
    for channel in channels_on_each(servers.cluster, APP.id, "private-cache-elsewhere-"):
        client = await clients.open(servers.nodes[0])
        await client.subscribe(channel, channel_data='{"client_id":"tab-1"}')
        await publish(servers.nodes[1], channel, 1)
        await hears(client, channel, [1])
    async with Redis.from_url(shared_redis_server.url) as redis:
        left = [key.decode() async for key in redis.scan_iter(f"sj:{{{APP.id}:*") if not key.endswith(b":members")]
    assert all("#control" in key for key in left), left
