"""Cache channels: the last event behind the acknowledgement, once, however the seam falls."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import Clients, GatewayNode, PusherClient, running_gateways
from tests.support.http_api import call, trigger
from tests.support.polling import eventually


def events(client: PusherClient, channel: str) -> list[str]:
    """Names of the channel's frames in their order."""
    return [frame.event for frame in client.frames if frame.channel == channel]


SUCCEEDED = "pusher_internal:subscription_succeeded"
MISS = "pusher:cache_miss"


async def subscribed(clients: Clients, node: GatewayNode, channel: str, **options: object) -> PusherClient:
    """A new client that has everything which belongs to its join."""
    client = await clients.open(node)
    await client.subscribe(channel, **options)
    await client.round_trip()
    return client


@pytest.mark.parametrize("channel", ["cache-new", "private-cache-new", "private-encrypted-cache-new"])
async def test_a_miss_is_told_behind_the_acknowledgement(node: GatewayNode, clients: Clients, channel: str) -> None:
    client = await subscribed(clients, node, channel)
    assert events(client, channel) == [SUCCEEDED, MISS]
    assert client.of(MISS)[0].message == {"event": MISS, "data": "{}", "channel": channel}


@pytest.mark.parametrize("channel", ["cache-a", "private-cache-a", "presence-cache-a", "private-encrypted-cache-a"])
async def test_newcomers_on_every_node_get_the_last_event(
    nodes: list[GatewayNode], clients: Clients, channel: str
) -> None:
    member = {"user_id": "7"} if channel.startswith("presence-") else {}
    await trigger(nodes[0], channel, "first", "1")
    await trigger(nodes[0], channel, "last", "2")
    for node in nodes:
        client = await subscribed(clients, node, channel, **member)
        assert events(client, channel) == [SUCCEEDED, "last"]
        assert client.of("last")[0].message["data"] == "2"
    for node in nodes:  # also where the channel is open already
        client = await subscribed(clients, node, channel, **member)
        assert [name for name in events(client, channel) if "member" not in name] == [SUCCEEDED, "last"]


async def test_plain_channels_remember_nothing(node: GatewayNode, clients: Clients) -> None:
    await trigger(node, "cachet", "e")
    assert events(await subscribed(clients, node, "cachet"), "cachet") == [SUCCEEDED]


async def test_an_event_that_excludes_somebody_is_cached(node: GatewayNode, clients: Clients) -> None:
    sender = await clients.open(node)
    await trigger(node, "cache-excluded", "e", socket_id=sender.socket_id)
    await sender.subscribe("cache-excluded")
    await sender.round_trip()
    assert events(sender, "cache-excluded") == [SUCCEEDED, "e"]


async def test_a_client_event_is_not_cached(node: GatewayNode, clients: Clients) -> None:
    sender = await subscribed(clients, node, "private-cache-whisper")
    hearer = await subscribed(clients, node, "private-cache-whisper")
    await sender.send("client-typing", {"a": 1}, "private-cache-whisper")
    await hearer.wait_for("client-typing")
    later = await subscribed(clients, node, "private-cache-whisper")
    assert events(later, "private-cache-whisper") == [SUCCEEDED, MISS]


async def test_a_second_subscribe_does_not_repeat_the_event(node: GatewayNode, clients: Clients) -> None:
    await trigger(node, "cache-again", "e")
    client = await subscribed(clients, node, "cache-again")
    await client.subscribe("cache-again")
    await client.round_trip()
    assert events(client, "cache-again") == [SUCCEEDED, "e", SUCCEEDED]


async def test_recovery_does_not_repeat_the_cached_event(node: GatewayNode, clients: Clients) -> None:
    await trigger(node, "cache-recover", "e", "1")
    first = await clients.open(node)
    position = (await first.subscribe("cache-recover"))["position"]
    caught_up = await subscribed(clients, node, "cache-recover", recover=position)
    assert events(caught_up, "cache-recover") == [SUCCEEDED]
    await trigger(node, "cache-recover", "e", "2")
    behind = await subscribed(clients, node, "cache-recover", recover=position)
    assert [frame.message["data"] for frame in behind.of("e")] == ["2"]
    lost = await subscribed(clients, node, "cache-recover", recover={"epoch": "another", "offset": 1})
    assert [frame.message["data"] for frame in lost.of("e")] == ["2"]


async def test_joins_during_a_stream_of_events_see_no_gap_and_no_repeat(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    """Each newcomer gets the last event before its position, then every later one, once."""
    channel = "cache-stream"
    await trigger(nodes[0], channel, "e", "0")

    async def publish() -> None:
        for number in range(1, 200):
            await trigger(nodes[number % 2], channel, "e", str(number))

    opened = [await clients.open(nodes[number % 2]) for number in range(24)]
    publishing = asyncio.create_task(publish())
    for client in opened:  # one after the other, so that the joins are spread over the stream
        await client.subscribe(channel)
    await publishing
    for client in opened:
        await client.wait_until(
            lambda client=client: next((one for one in client.of("e") if one.data == 199), None), what="the last event"
        )
        numbers = [frame.data for frame in client.of("e")]
        assert numbers == list(range(numbers[0], 200))
        position = client.of(SUCCEEDED)[0].data["position"]["offset"]
        assert client.of("e")[0].message["offset"] in (position, position + 1), "the last event or, live, the next"


async def test_info_shows_the_cached_event(node: GatewayNode) -> None:
    assert (await call(node, "GET", "/channels/cache-info", query={"info": "cache"})).body == (
        b'{"occupied":false,"cache":null}'
    )
    await trigger(node, "cache-info", "e", json.dumps({"a": "é"}))
    answer = (await call(node, "GET", "/channels/cache-info", query={"info": "cache,subscription_count"})).json
    assert list(answer) == ["occupied", "cache", "subscription_count"]
    assert answer["cache"]["data"] == json.dumps({"a": "é"})
    assert 1795 <= answer["cache"]["ttl"] <= 1800


async def test_a_cached_event_ends(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url, count=1, env={"CACHE_SECONDS": "1"}) as (node,):
        clients = Clients()
        await trigger(node, "cache-brief", "e")
        assert events(await subscribed(clients, node, "cache-brief"), "cache-brief") == [SUCCEEDED, "e"]

        async def gone() -> bool:
            return bool(
                (await call(node, "GET", "/channels/cache-brief", query={"info": "cache"})).json["cache"] is None
            )

        await eventually(gone, 5)
        assert events(await subscribed(clients, node, "cache-brief"), "cache-brief") == [SUCCEEDED, MISS]
        await clients.close()
