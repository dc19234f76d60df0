"""Sign-in, events to a user, watchlists and termination over two gateways, told by raw clients."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pusher import Pusher
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import (
    APP,
    Clients,
    GatewayNode,
    PusherClient,
    SubscribeRefused,
    TestApp,
    running_gateways,
)
from tests.support.polling import eventually, never, scaled

from .conftest import CLOSED, STRICT, STRICT_SECONDS

WATCHLIST = "pusher_internal:watchlist_events"


def back_end(node: GatewayNode, app: TestApp = APP) -> Pusher:
    """The official SDK as the application's back end."""
    return Pusher(app_id=app.id, key=app.key, secret=app.secret, host="127.0.0.1", port=node.port, ssl=False)


def known_states(client: PusherClient) -> dict[str, str]:
    """User id → `online` or `offline`, as the watchlist events said last."""
    states: dict[str, str] = {}
    for frame in client.of(WATCHLIST):
        for event in frame.data["events"]:
            for user_id in event["user_ids"]:
                assert states.get(user_id) != event["name"], f"told twice that {user_id} is {event['name']}"
                states[user_id] = event["name"]
    return states


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user_data",
    ["", "7", "[]", "{}", "not json", '{"id":7}', '{"id":""}', '{"id":null}', '{"id":"7","watchlist":"8"}'],
)
async def test_user_data_without_a_string_id_is_refused(
    nodes: list[GatewayNode], clients: Clients, user_data: str
) -> None:
    client = await clients.open(nodes[0])
    await client.send("pusher:signin", {"auth": APP.sign_user(client.socket_id, user_data), "user_data": user_data})
    error = await client.wait_for("pusher:error")
    assert error.data["code"] == 4009
    await client.round_trip()
    assert client.close_code is None


async def test_a_sign_in_with_a_wrong_signature_or_key_is_refused(nodes: list[GatewayNode], clients: Clients) -> None:
    client, other = await clients.open(nodes[0]), await clients.open(nodes[0])
    user_data = '{"id":"7"}'
    right = APP.sign_user(client.socket_id, user_data)
    for number, auth in enumerate(
        (
            APP.sign_user(other.socket_id, user_data),
            APP.sign_user(client.socket_id, '{"id": "7"}'),
            APP.sign_channel(client.socket_id, ":user:", user_data).upper(),
            right.replace(APP.key, CLOSED.key),
            CLOSED.sign_user(client.socket_id, user_data),
            "",
            ":",
        ),
        1,
    ):
        await client.send("pusher:signin", {"auth": auth, "user_data": user_data})
        await client.wait_for("pusher:error", count=number)
    assert not client.of("pusher:signin_success")


@pytest.mark.parametrize("data", ['{"auth":7,"user_data":"{}"}', "{}", "null", '{"auth":"a:b","user_data":{"id":"7"}}'])
async def test_a_malformed_sign_in_is_answered(nodes: list[GatewayNode], clients: Clients, data: str) -> None:
    client = await clients.open(nodes[0])
    await client.send_text('{"event":"pusher:signin","data":' + data + "}")
    assert (await client.wait_for("pusher:error")).data["code"] is None
    await client.round_trip()


async def test_an_app_without_user_authentication_refuses_sign_in(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[0], CLOSED)
    assert (await client.sign_in("7")).event == "pusher:error"


async def test_only_the_own_user_channel_may_be_subscribed(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[0])
    with pytest.raises(SubscribeRefused):
        await client.subscribe("#server-to-user-7")
    await client.sign_in("7")
    for channel in ("#server-to-user-8", "#server-to-user-77", "#server-to-user-"):
        with pytest.raises(SubscribeRefused):
            await client.subscribe(channel)
    assert await client.subscribe("#server-to-user-7") is not None


async def test_a_connection_cannot_become_another_user(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[0])
    assert (await client.sign_in("7")).event == "pusher:signin_success"
    assert (await client.sign_in("8")).event == "pusher:error"
    assert (await client.sign_in("7")).event == "pusher:signin_success"
    assert client.close_code is None


# --- events to a user -------------------------------------------------------------------------------------------------


async def test_success_gives_the_user_data_back_as_it_came(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[0])
    success = await client.sign_in("7", name="Adèle ✓")
    assert list(success.data) == ["user_data"], "the signature is not echoed"
    assert json.loads(success.data["user_data"]) == {"id": "7", "user_info": {"name": "Adèle ✓"}}


async def test_events_reach_every_signed_in_connection_from_the_success_on(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    tabs = [await clients.open(node) for node in (nodes[0], nodes[0], nodes[1])]
    stranger = await clients.open(nodes[1])
    for tab in tabs:
        await tab.sign_in("alone")
    await stranger.sign_in("stranger")
    back_end(nodes[0]).send_to_user("alone", "greeting", {"n": 1})
    for tab in tabs:
        frame = await tab.wait_for("greeting")
        assert frame.channel == "#server-to-user-alone"
        assert frame.data == {"n": 1}
    await tabs[0].subscribe("#server-to-user-alone")
    await tabs[0].unsubscribe("#server-to-user-alone")
    back_end(nodes[1]).send_to_user("alone", "greeting", {"n": 2})
    for tab in tabs:
        assert (await tab.wait_for("greeting", count=2)).data == {"n": 2}
        await tab.round_trip()
        assert len(tab.of("greeting")) == 2
    await stranger.round_trip()
    assert not stranger.of("greeting")
    channels = back_end(nodes[0]).channels_info()["channels"]
    assert not [name for name in channels if name.startswith("#")]


# --- watchlists -------------------------------------------------------------------------------------------------------


async def test_a_watchlist_tells_the_present_state_then_changes_over_nodes(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    early = await clients.open(nodes[1])
    await early.sign_in("w-early")
    watcher = await clients.open(nodes[0])
    await watcher.sign_in("w-watcher", watchlist=["w-early", "w-late", "w-never", "w-early"])
    await watcher.wait_for(WATCHLIST)
    events = [frame.event for frame in watcher.frames]
    assert events.index("pusher:signin_success") < events.index(WATCHLIST)
    assert known_states(watcher) == {"w-early": "online", "w-late": "offline", "w-never": "offline"}
    late = [await clients.open(node) for node in nodes]
    for tab in late:
        await tab.sign_in("w-late")
    await eventually(lambda: known_states(watcher)["w-late"] == "online")
    await late[0].close()
    await early.abort()
    await eventually(lambda: known_states(watcher)["w-early"] == "offline")
    assert known_states(watcher)["w-late"] == "online", "one connection is left"
    await late[1].close()
    await eventually(lambda: known_states(watcher)["w-late"] == "offline")
    assert len(watcher.of(WATCHLIST)) == 4


async def test_many_watchers_and_a_storm_of_sign_ins_end_in_the_truth(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    users = [f"s{number}" for number in range(6)]
    watchers = [await clients.open(nodes[number % 2]) for number in range(4)]
    for number, watcher in enumerate(watchers):
        await watcher.sign_in(f"storm-watcher-{number}", watchlist=users)
    for _round in range(4):
        for number, user_id in enumerate(users):
            tab = await clients.open(nodes[number % 2])
            await tab.sign_in(user_id)
            await tab.abort()
    for user_id in users[:3]:
        await (await clients.open(nodes[1])).sign_in(user_id)
    expected = dict.fromkeys(users[:3], "online") | dict.fromkeys(users[3:], "offline")
    for watcher in watchers:

        def knows(watcher: PusherClient = watcher) -> bool:
            return known_states(watcher) == expected

        await eventually(knows)


async def test_a_watchlist_of_100_passes_and_101_is_cut_and_told_after_the_success(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    users = [f"l{number}" for number in range(101)]
    fits, cut = await clients.open(nodes[0]), await clients.open(nodes[0])
    await fits.sign_in("l-fits", watchlist=users[:100])
    await fits.wait_for(WATCHLIST)
    assert not fits.of("pusher:error")
    assert (await cut.sign_in("l-cut", watchlist=users)).event == "pusher:signin_success"
    assert (await cut.wait_for("pusher:error")).data["code"] == 4302
    await cut.wait_for(WATCHLIST)
    assert set(known_states(cut)) == set(users[:100])
    await cut.round_trip()
    assert cut.close_code is None


async def test_users_of_two_apps_are_not_the_same(nodes: list[GatewayNode], clients: Clients) -> None:
    watcher, other = await clients.open(nodes[0]), await clients.open(nodes[0], STRICT)
    await watcher.sign_in("app-watcher", watchlist=["app-user"])
    await watcher.wait_for(WATCHLIST)
    await other.sign_in("app-user")
    await watcher.round_trip()
    assert known_states(watcher) == {"app-user": "offline"}


# --- terminating ------------------------------------------------------------------------------------------------------


async def test_terminating_closes_a_users_signed_in_connections_on_all_nodes_and_no_others(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    mine = [await clients.open(node) for node in (nodes[0], nodes[1])]
    for client in mine:
        await client.sign_in("t-user")
    other, present, elsewhere = [await clients.open(nodes[1]) for _ in range(2)] + [
        await clients.open(nodes[1], STRICT)
    ]
    await other.sign_in("t-other")
    await present.subscribe("presence-t", user_id="t-user")
    await elsewhere.sign_in("t-user")
    back_end(nodes[0]).terminate_user_connections("t-user")
    for client in mine:
        assert await client.wait_closed() == 4009
        assert client.of("pusher:error")[0].data["code"] == 4009
    for client in (other, present, elsewhere):
        await client.round_trip()


async def test_terminating_reaches_presence_users_where_the_app_says_so(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    present, other = [await clients.open(nodes[1], STRICT) for _ in range(2)]
    await present.subscribe("presence-t", user_id=77)
    await other.subscribe("presence-t", user_id=7)
    back_end(nodes[0], STRICT).terminate_user_connections("77")
    assert await present.wait_closed() == 4009
    await other.round_trip()


# --- authorized connections -------------------------------------------------------------------------------------------


async def test_connections_that_do_not_authorize_themselves_in_time_are_closed(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    idle, public, private, signed_in = [await clients.open(nodes[0], STRICT) for _ in range(4)]
    opened_at = time.monotonic()
    await public.subscribe("anybody")
    await private.subscribe("private-somebody")
    await signed_in.sign_in("somebody")
    assert await idle.wait_closed(STRICT_SECONDS + 3) == 4009
    assert await public.wait_closed() == 4009
    assert time.monotonic() - opened_at >= STRICT_SECONDS - 0.1
    for client in (private, signed_in):
        await client.round_trip()


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path, redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    env: dict[str, Any] = {"LEASE_HEARTBEAT_SECONDS": str(scaled(0.3)), "LEASE_SECONDS": str(scaled(1.2))}
    with running_gateways(tmp_path, redis_server.url, count=3, env=env) as started:
        yield started


async def test_the_users_of_a_killed_node_go_offline_unless_they_are_elsewhere_too(
    cluster: list[GatewayNode], clients: Clients
) -> None:
    doomed, second, third = cluster
    watcher = await clients.open(second)
    await watcher.sign_in("watcher", watchlist=["dead", "both"])
    for node, user_id in ((doomed, "dead"), (doomed, "both"), (third, "both")):
        await (await clients.open(node)).sign_in(user_id)
    await eventually(lambda: known_states(watcher) == {"dead": "online", "both": "online"})
    doomed.kill()
    await eventually(lambda: known_states(watcher)["dead"] == "offline", 10)
    assert known_states(watcher)["both"] == "online"


async def test_a_redis_that_comes_back_empty_gets_all_users_again_and_watchers_are_told_nothing(
    cluster: list[GatewayNode], clients: Clients, redis_server: EmbeddedRedis
) -> None:
    watcher, stays, goes = [await clients.open(node) for node in cluster]
    await watcher.sign_in("watcher", watchlist=["stays", "goes"])
    await stays.sign_in("stays")
    await goes.sign_in("goes")
    await eventually(lambda: known_states(watcher) == {"stays": "online", "goes": "online"})
    redis_server.process.kill()
    for file in redis_server.data_dir.rglob("*.*"):
        file.unlink()
    await goes.close()
    redis_server.start()
    await eventually(lambda: known_states(watcher)["goes"] == "offline", 15)
    await never(lambda: known_states(watcher)["stays"] == "offline", during=2)
    back_end(cluster[2]).send_to_user("stays", "hello", "there")
    await stays.wait_for("hello")
    late = await clients.open(cluster[2])
    await late.sign_in("late", watchlist=["stays", "goes"])
    await late.wait_for(WATCHLIST)
    assert known_states(late) == {"stays": "online", "goes": "offline"}
