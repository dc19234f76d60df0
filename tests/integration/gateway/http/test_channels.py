"""What the API tells of channels: over both nodes, exact shapes, right at once on the node that is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.count_layout import totals_key
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import Clients, GatewayNode, PusherClient, running_gateways
from tests.support.http_api import call
from tests.support.polling import eventually, scaled

from .conftest import COUNTING

QUICK_LEASE = {"LEASE_HEARTBEAT_SECONDS": str(scaled(0.3)), "LEASE_SECONDS": str(scaled(1.2)), "PROBE_SECONDS": "0.5"}


async def test_no_channels_are_an_empty_object(node: GatewayNode) -> None:
    answer = await call(node, "GET", "/channels", query={"filter_by_prefix": "nobody-is-here"})
    assert (answer.status, answer.body) == (200, b'{"channels":{}}')


async def test_a_channel_never_seen_is_not_occupied(node: GatewayNode) -> None:
    answer = await call(node, "GET", "/channels/never-seen")
    assert (answer.status, answer.body) == (200, b'{"occupied":false}')


async def test_users_of_an_empty_presence_channel_are_an_empty_list(node: GatewayNode) -> None:
    answer = await call(node, "GET", "/channels/presence-empty/users")
    assert (answer.status, answer.body) == (200, b'{"users":[]}')


async def test_the_node_that_took_the_subscribe_knows_at_once(node: GatewayNode, clients: Clients) -> None:
    client = await clients.open(node)
    for number in range(20):
        await client.subscribe(f"at-once-{number}")
        assert (await call(node, "GET", f"/channels/at-once-{number}")).json == {"occupied": True}
    await client.unsubscribe("at-once-0")
    await client.round_trip()
    assert (await call(node, "GET", "/channels/at-once-0")).json == {"occupied": False}


async def test_counts_are_of_the_whole_cluster(nodes: list[GatewayNode], clients: Clients) -> None:
    for node, user in ((nodes[0], "7"), (nodes[1], "7"), (nodes[1], "8")):
        client = await clients.open(node)
        await client.subscribe("presence-both", user_id=user)
        await client.subscribe("both")
    for node in nodes:

        async def right(node: GatewayNode = node) -> bool:
            presence = await call(node, "GET", "/channels/presence-both", query={"info": "user_count"})
            plain = await call(node, "GET", "/channels/both", query={"info": "subscription_count"})
            users = await call(node, "GET", "/channels/presence-both/users")
            return (
                presence.json == {"occupied": True, "user_count": 2}
                and plain.json == {"occupied": True, "subscription_count": 3}
                and sorted(user["id"] for user in users.json["users"]) == ["7", "8"]
            )

        await eventually(right, 5)
    listed = await call(nodes[0], "GET", "/channels", query={"filter_by_prefix": "presence-b", "info": "user_count"})
    assert listed.json == {"channels": {"presence-both": {"user_count": 2}}}
    listed = await call(nodes[1], "GET", "/channels", query={"filter_by_prefix": "both", "info": "subscription_count"})
    assert listed.json == {"channels": {"both": {"subscription_count": 3}}}


async def test_both_attributes_of_a_presence_channel_may_be_asked_for(node: GatewayNode, clients: Clients) -> None:
    await (await clients.open(node)).subscribe("presence-two", user_id="7")
    answer = await call(node, "GET", "/channels/presence-two", query={"info": "user_count,subscription_count"})
    assert answer.json == {"occupied": True, "user_count": 1}


async def test_the_deprecated_stats(node: GatewayNode, clients: Clients) -> None:
    client = await clients.open(node)
    await client.subscribe("presence-stats", user_id="7")
    await client.subscribe("stats")
    assert (await call(node, "GET", "/channels/stats/stats")).json == {"occupied": True, "connection_count": 1}
    assert (await call(node, "GET", "/channels/presence-stats/stats")).json == {
        "occupied": True,
        "user_count": 1,
        "connection_count": 1,
    }


@pytest.mark.parametrize("prefix", ["list[ab]", "list*", "li?t", "list\\"])
async def test_a_prefix_is_no_pattern(node: GatewayNode, clients: Clients, prefix: str) -> None:
    await (await clients.open(node)).subscribe("lista")
    assert (await call(node, "GET", "/channels", query={"filter_by_prefix": prefix})).json == {"channels": {}}


async def test_connections_are_counted_over_nodes(nodes: list[GatewayNode], clients: Clients) -> None:
    before = (await call(nodes[0], "GET", "/connections", app=COUNTING)).json["connections"]
    for node in nodes:
        await clients.open(node, COUNTING)
    for node in nodes:

        async def right(node: GatewayNode = node) -> bool:
            return bool((await call(node, "GET", "/connections", app=COUNTING)).json == {"connections": before + 2})

        await eventually(right, 5)


async def test_head_answers_without_a_body(node: GatewayNode) -> None:
    answer = await call(node, "HEAD", "/channels", query={"filter_by_prefix": "nobody"})
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "15", b"")


async def wait_for_count(client: PusherClient, count: int, *, deadline: float = 5) -> None:
    """Wait until this is the last count that the client was told."""

    def is_told() -> bool:
        told = client.of("pusher_internal:subscription_count")
        return bool(told) and told[-1].data == {"subscription_count": count}

    await eventually(is_told, deadline)


# --- subscription counts ----------------------------------------------------------------------------------------------


async def test_counts_are_announced_to_all_subscribers(nodes: list[GatewayNode], clients: Clients) -> None:
    opened = [await clients.open(node, COUNTING) for node in (nodes[0], nodes[1], nodes[1])]
    for number, client in enumerate(opened, 1):
        await client.subscribe("counted")
        for earlier in opened[:number]:
            await wait_for_count(earlier, number)
    await opened[0].unsubscribe("counted")
    await wait_for_count(opened[1], 2)
    frame = opened[1].of("pusher_internal:subscription_count")[-1]
    assert frame.message["data"] == '{"subscription_count":2}'
    assert frame.channel == "counted"
    succeeded = next(i for i, one in enumerate(opened[2].frames) if one.event.endswith("subscription_succeeded"))
    first = next(i for i, one in enumerate(opened[2].frames) if one.event.endswith("subscription_count"))
    assert succeeded < first


async def test_counts_are_not_announced_where_nobody_asked(node: GatewayNode, clients: Clients) -> None:
    plain = await clients.open(node)
    await plain.subscribe("uncounted")
    presence = await clients.open(node, COUNTING)
    await presence.subscribe("presence-uncounted", user_id="7")
    await call(node, "GET", "/channels")
    for client in (plain, presence):
        await client.round_trip()
        assert client.of("pusher_internal:subscription_count") == []


async def test_big_channels_are_announced_at_intervals_and_in_the_end_rightly(
    node: GatewayNode, clients: Clients, redis: Redis
) -> None:
    watcher = await clients.open(node, COUNTING)
    await watcher.subscribe("big")
    for _ in range(4):
        opened = await asyncio.gather(*(clients.open(node, COUNTING) for _ in range(30)))
        await asyncio.gather(*(client.subscribe("big") for client in opened))
    await wait_for_count(watcher, 121, deadline=12)
    above = [
        frame.data["subscription_count"]
        for frame in watcher.of("pusher_internal:subscription_count")
        if frame.data["subscription_count"] > 100
    ]
    assert len(above) <= 3
    assert (await redis.hgetall(totals_key(COUNTING.id)))[b"big"] == b"121"  # type: ignore[misc]  # redis-py's stub


# --- nodes that end ---------------------------------------------------------------------------------------------------


async def test_a_stopped_node_takes_its_share_along(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url) as nodes:
        clients = Clients()
        for node in nodes:
            await (await clients.open(node)).subscribe("shared")
        await asyncio.to_thread(nodes[1].service.stop)
        answer = await call(nodes[0], "GET", "/channels/shared", query={"info": "subscription_count"})
        assert answer.json == {"occupied": True, "subscription_count": 1}
        await clients.close()


async def test_the_share_of_a_killed_node_is_taken_off(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url, env=QUICK_LEASE) as nodes:
        clients = Clients()
        for node in nodes:
            client = await clients.open(node)
            await client.subscribe("shared")
            await client.subscribe(f"only-{node.port}")
        nodes[1].kill()

        async def right() -> bool:
            listed = (await call(nodes[0], "GET", "/channels", query={"info": "subscription_count"})).json["channels"]
            connections = (await call(nodes[0], "GET", "/connections")).json["connections"]
            alone = {"shared": {"subscription_count": 1}, f"only-{nodes[0].port}": {"subscription_count": 1}}
            return bool(listed == alone and connections == 1)

        await eventually(right, 15)
        await clients.close()


async def test_a_frozen_node_counts_again_when_it_goes_on(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url, env=QUICK_LEASE) as nodes:
        clients = Clients()
        for node in nodes:
            await (await clients.open(node)).subscribe("shared")

        async def count() -> object:
            answer = await call(nodes[0], "GET", "/channels/shared", query={"info": "subscription_count"})
            return answer.json["subscription_count"]

        async def is_count(number: int) -> bool:
            return await count() == number

        await eventually(lambda: is_count(2), 5)
        nodes[1].service.freeze()
        await eventually(lambda: is_count(1), 15)
        nodes[1].service.thaw()
        await eventually(lambda: is_count(2), 10)
        await clients.close()


async def test_counts_come_back_after_redis_forgot_everything(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url, env=QUICK_LEASE) as nodes:
        clients = Clients()
        for node in nodes:
            await (await clients.open(node)).subscribe("shared")
        redis_server.flush()

        async def right() -> bool:
            answer = await call(nodes[0], "GET", "/channels/shared", query={"info": "subscription_count"})
            connections = await call(nodes[1], "GET", "/connections")
            return bool(
                answer.status == 200
                and answer.json == {"occupied": True, "subscription_count": 2}
                and connections.status == 200
                and connections.json == {"connections": 2}
            )

        await eventually(right, 15)
        await clients.close()
