"""Presence over two gateways that share nothing but Redis, told by raw clients."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.gateway import APP, Clients, GatewayNode, PusherClient, SubscribeRefused
from tests.support.polling import eventually
from tests.support.presence import ADDED, REMOVED, all_believe, announcements, believed_members

from .conftest import SMALL

# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "channel_data",
    [
        "",
        "null",
        "7",
        "[]",
        "{}",
        '{"user_id":null}',
        '{"user_id":""}',
        '{"user_id":true}',
        '{"user_id":1.5}',
        '{"user_id":[7]}',
        '{"user_id":{"id":7}}',
        '{"user_id":"7"',
        '{"user_info":{"name":"Ada"}}',
    ],
)
async def test_channel_data_without_a_user_id_is_refused(
    nodes: list[GatewayNode], clients: Clients, channel_data: str
) -> None:
    client = await clients.open(nodes[0])
    with pytest.raises(SubscribeRefused) as refused:
        await client.subscribe("presence-refused", channel_data=channel_data)
    assert refused.value.data["type"] == "AuthError"
    assert refused.value.data["status"] == 401
    await client.round_trip()


async def test_a_presence_channel_without_channel_data_needs_a_signed_in_user(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    client = await clients.open(nodes[0])
    with pytest.raises(SubscribeRefused) as refused:
        await client.subscribe("presence-anonymous")
    assert refused.value.data["type"] == "AuthError"


async def test_channel_data_with_other_spacing_than_signed_is_refused(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    client = await clients.open(nodes[0])
    data = client.subscribe_data("presence-spacing", channel_data='{"user_id": 7}')
    await client.send("pusher:subscribe", data | {"channel_data": '{"user_id":7}'})
    with pytest.raises(SubscribeRefused) as refused:
        await client.answer_to_subscribe("presence-spacing")
    assert refused.value.data["status"] == 401


async def test_a_user_id_of_128_characters_passes_and_one_more_is_refused(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    client = await clients.open(nodes[0])
    await client.subscribe("presence-id-limit-a", user_id="u" * 128)
    with pytest.raises(SubscribeRefused) as refused:
        await client.subscribe("presence-id-limit-b", user_id="u" * 129)
    assert (refused.value.data["type"], refused.value.data["status"]) == ("LimitReached", 4301)


async def test_user_info_at_the_limit_passes_and_one_byte_more_is_refused(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    client = await clients.open(nodes[0], SMALL)
    await client.subscribe("presence-size-a", user_id=1, user_info="ä" * 9)  # 18 bytes and two quotes
    with pytest.raises(SubscribeRefused) as refused:
        await client.subscribe("presence-size-b", user_id=1, user_info="ä" * 9 + "a")
    assert (refused.value.data["type"], refused.value.data["status"]) == ("LimitReached", 4301)


async def test_a_full_channel_refuses_new_members_but_not_new_tabs_and_has_room_again_when_one_leaves(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    first, second, third = [await clients.open(nodes[number % 2], SMALL) for number in range(3)]
    await first.subscribe("presence-full", user_id=1)
    await second.subscribe("presence-full", user_id=2)
    with pytest.raises(SubscribeRefused) as refused:
        await third.subscribe("presence-full", user_id=3)
    assert (refused.value.data["type"], refused.value.data["status"]) == ("LimitReached", 4100)
    tab = await clients.open(nodes[0], SMALL)
    assert (await tab.subscribe("presence-full", user_id="2"))["presence"]["count"] == 2
    await first.unsubscribe("presence-full")
    await second.wait_for(REMOVED)
    assert (await third.subscribe("presence-full", user_id=3))["presence"]["ids"] == ["2", "3"]
    await tab.wait_for(ADDED)
    assert announcements(tab, "presence-full") == {("removed", "1"): 1, ("added", "3"): 1}


# --- members ----------------------------------------------------------------------------------------------------------


async def test_the_roster_has_the_documented_form_and_includes_the_subscriber(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    ada, bob = await clients.open(nodes[0]), await clients.open(nodes[1])
    await ada.subscribe("presence-form", user_id=7, user_info={"name": "Adèle ✓"})
    roster = (await bob.subscribe("presence-form", user_id="8"))["presence"]
    assert roster == {"ids": ["7", "8"], "hash": {"7": {"name": "Adèle ✓"}, "8": None}, "count": 2}
    added = await ada.wait_for(ADDED)
    assert added.data == {"user_id": "8", "user_info": None}
    assert isinstance(added.message["data"], str)
    await bob.unsubscribe("presence-form")
    removed = await ada.wait_for(REMOVED)
    assert removed.data == {"user_id": "8"}
    assert isinstance(removed.message["data"], str)


async def test_user_info_reaches_the_others_byte_for_byte(nodes: list[GatewayNode], clients: Clients) -> None:
    info = '{"big":12345678901234567890, "float":1.10,"text":"a\\/b\\u00e4 \\n ✓","nested":[{"a":null}]}'
    ada, bob = await clients.open(nodes[0]), await clients.open(nodes[1])
    await bob.subscribe("presence-bytes", user_id="b")
    await ada.subscribe("presence-bytes", channel_data='{"user_info":' + info + ',"user_id":"a\\"\\\\/ü"}')
    added = await bob.wait_for(ADDED)
    assert added.data["user_id"] == 'a"\\/ü'
    assert info in added.message["data"]
    late = await clients.open(nodes[1])
    await late.subscribe("presence-bytes", user_id="c")
    assert info in late.of("pusher_internal:subscription_succeeded")[0].message["data"]


@pytest.mark.parametrize(("one", "other"), [(7, "7"), (0, "0"), ("x", "x"), (2**70, str(2**70))])
async def test_several_tabs_on_several_nodes_are_one_member(
    nodes: list[GatewayNode], clients: Clients, one: Any, other: Any
) -> None:
    channel = f"presence-tabs-{str(other)[:4]}"
    watcher = await clients.open(nodes[0])
    await watcher.subscribe(channel, user_id="watcher")
    tabs = [await clients.open(node) for node in (nodes[0], nodes[1], nodes[1])]
    for tab, user_id in zip(tabs, (one, other, one), strict=True):
        roster = (await tab.subscribe(channel, user_id=user_id))["presence"]
        assert roster["ids"] == ["watcher", str(other)]
    await tabs[0].unsubscribe(channel)
    await tabs[1].close()
    await tabs[0].round_trip()
    await watcher.round_trip()
    assert announcements(watcher, channel) == {("added", str(other)): 1}
    await tabs[2].abort()
    await watcher.wait_for(REMOVED, channel=channel)
    assert announcements(watcher, channel) == {("added", str(other)): 1, ("removed", str(other)): 1}
    assert not any(announcements(tab, channel) for tab in tabs), "nobody is told of itself"


async def test_the_first_user_info_counts_until_the_user_has_left(nodes: list[GatewayNode], clients: Clients) -> None:
    first, second, watcher = [await clients.open(nodes[number % 2]) for number in range(3)]
    await first.subscribe("presence-info", user_id=1, user_info="first")
    roster = (await second.subscribe("presence-info", user_id=1, user_info="second"))["presence"]
    assert roster["hash"] == {"1": "first"}
    await first.unsubscribe("presence-info")
    roster = (await watcher.subscribe("presence-info", user_id=2))["presence"]
    assert roster["hash"]["1"] == "first"
    await second.unsubscribe("presence-info")
    await watcher.wait_for(REMOVED)
    assert (await first.subscribe("presence-info", user_id=1, user_info="third"))["presence"]["hash"]["1"] == "third"


async def test_a_signed_in_user_needs_no_channel_data_and_channel_data_wins(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    client, other = await clients.open(nodes[0]), await clients.open(nodes[1])
    assert (await client.sign_in("7", name="Ada")).event == "pusher:signin_success"
    assert (await client.subscribe("presence-signed-in"))["presence"]["hash"] == {"7": {"name": "Ada"}}
    assert (await client.subscribe("presence-guest", user_id="guest"))["presence"]["ids"] == ["guest"]
    assert (await other.subscribe("presence-signed-in", user_id=7))["presence"]["count"] == 1


async def test_a_second_subscribe_is_acknowledged_again_without_an_announcement(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    ada, bob = await clients.open(nodes[0]), await clients.open(nodes[1])
    await bob.subscribe("presence-again", user_id="bob")
    for _ in range(3):
        assert (await ada.subscribe("presence-again", user_id="ada"))["presence"]["count"] == 2
    await ada.subscribe("presence-again", user_id="eva")
    await eventually(lambda: set(believed_members(bob, "presence-again")) == {"bob", "eva"})
    assert announcements(bob, "presence-again") == {("added", "ada"): 1, ("removed", "ada"): 1, ("added", "eva"): 1}


async def test_a_burst_of_subscribes_and_unsubscribes_is_answered_in_order(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    ada, bob = await clients.open(nodes[0]), await clients.open(nodes[1])
    await bob.subscribe("presence-burst", user_id="bob")
    data = ada.subscribe_data("presence-burst", user_id="ada")
    subscribe = json.dumps({"event": "pusher:subscribe", "data": data})
    unsubscribe = json.dumps({"event": "pusher:unsubscribe", "data": {"channel": "presence-burst"}})
    for text in [unsubscribe, *[subscribe, unsubscribe] * 20, subscribe]:
        await ada.send_text(text)
    await ada.wait_for("pusher_internal:subscription_succeeded", count=21)
    await eventually(lambda: set(believed_members(bob, "presence-burst")) == {"bob", "ada"})
    assert set(believed_members(ada, "presence-burst")) == {"bob", "ada"}


async def test_whoever_drops_out_while_joining_is_no_member(nodes: list[GatewayNode], clients: Clients) -> None:
    watcher = await clients.open(nodes[1])
    await watcher.subscribe("presence-hasty", user_id="watcher")
    for number in range(10):
        hasty = await clients.open(nodes[0])
        await hasty.send("pusher:subscribe", hasty.subscribe_data("presence-hasty", user_id=number))
        await hasty.abort()
    last = await clients.open(nodes[0])
    await last.subscribe("presence-hasty", user_id="last")
    await eventually(lambda: set(believed_members(watcher, "presence-hasty")) == {"watcher", "last"})
    await eventually(lambda: set(believed_members(last, "presence-hasty")) == {"watcher", "last"})


# --- races ------------------------------------------------------------------------------------------------------------


async def test_everybody_who_joins_at_once_knows_everybody_exactly_once(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    everybody = [await clients.open(nodes[number % 2]) for number in range(40)]
    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(everybody):
            group.create_task(client.subscribe("presence-race", user_id=number, user_info={"n": number}))
    expected = {str(number): {"n": number} for number in range(40)}
    await all_believe(everybody, "presence-race", expected)
    for client in everybody:
        assert not [kind for kind, _user in announcements(client, "presence-race") if kind == "removed"]


async def test_rosters_agree_after_a_storm_of_coming_and_going(nodes: list[GatewayNode], clients: Clients) -> None:
    channel = "presence-storm"
    everybody = [await clients.open(nodes[number % 2]) for number in range(30)]

    async def live(number: int, client: PusherClient) -> None:
        for _round in range(8):
            await client.subscribe(channel, user_id=number % 15)  # two connections of each user, on both nodes
            await client.unsubscribe(channel)
        if number < 20:
            await client.subscribe(channel, user_id=number % 15)

    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(everybody):
            group.create_task(live(number, client))
    expected = {str(number): None for number in range(15)}
    await all_believe(everybody[:20], channel, expected)
    latecomer = await clients.open(nodes[0])
    assert (await latecomer.subscribe(channel, user_id=0))["presence"]["hash"] == expected


# --- client events ----------------------------------------------------------------------------------------------------


async def test_client_events_carry_the_senders_user_id_and_not_the_one_it_claims(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    ada, bob = await clients.open(nodes[0]), await clients.open(nodes[1])
    await ada.subscribe("presence-whisper", user_id=0)
    await bob.subscribe("presence-whisper", user_id="bob")
    await ada.send("client-typing", {"at": 1}, "presence-whisper", user_id="bob")
    heard = await bob.wait_for("client-typing")
    assert (heard.user_id, heard.message["data"]) == ("0", {"at": 1})
    await ada.round_trip()
    assert not ada.of("client-typing")


async def test_client_events_on_private_channels_carry_no_user_id(nodes: list[GatewayNode], clients: Clients) -> None:
    ada, bob = await clients.open(nodes[0]), await clients.open(nodes[1])
    for client in (ada, bob):
        await client.subscribe("private-whisper")
    await ada.send("client-typing", "text stays text", "private-whisper", user_id="bob")
    heard = await bob.wait_for("client-typing")
    assert "user_id" not in heard.message
    assert heard.message["data"] == "text stays text"


async def test_members_of_two_apps_never_meet(nodes: list[GatewayNode], clients: Clients) -> None:
    ours, theirs = await clients.open(nodes[0], APP), await clients.open(nodes[0], SMALL)
    await ours.subscribe("presence-shared-name", user_id=1)
    assert (await theirs.subscribe("presence-shared-name", user_id=2))["presence"]["ids"] == ["2"]
    await theirs.unsubscribe("presence-shared-name")
    await ours.round_trip()
    assert not announcements(ours, "presence-shared-name")
