"""Unmodified laravel-echo and pusher-js on two gateways that share only Redis: presence, users, watchlists."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from pusher import Pusher
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.auth_endpoint import AuthEndpoint, auth_endpoint
from tests.support.gateway import APP, GatewayNode, running_gateways
from tests.support.node_client import NodeClient, node_client
from tests.support.polling import eventually

Connect = Callable[..., Awaitable[NodeClient]]
ROOM = "presence-room"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    shared_redis_server.flush()
    env = {"LEASE_HEARTBEAT_SECONDS": "0.5", "LEASE_SECONDS": "2"}
    with running_gateways(tmp_path_factory.mktemp("gateways"), shared_redis_server.url, env=env) as started:
        yield started


@pytest.fixture
async def back_end() -> AsyncIterator[AuthEndpoint]:
    async with auth_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
async def connect(nodes: list[GatewayNode], back_end: AuthEndpoint) -> AsyncIterator[Connect]:
    async with contextlib.AsyncExitStack() as stack:

        async def open_client(node: int, token: str, library: Any = "echo") -> NodeClient:
            client = node_client(nodes[node].port, library=library, token=token, api_port=back_end.port)
            return await stack.enter_async_context(client)

        yield open_client


def sdk(node: GatewayNode) -> Pusher:
    return Pusher(app_id=APP.id, key=APP.key, secret=APP.secret, host="127.0.0.1", port=node.port, ssl=False)


async def test_echo_presence_says_who_is_here_who_joins_and_who_leaves(connect: Connect) -> None:
    ada, bob = await connect(0, "7"), await connect(1, "8")
    await ada.send("presence", channel=ROOM)
    assert (await ada.wait_event("here")).data == [{"name": "User 7"}]
    await bob.send("presence", channel=ROOM)
    here = await bob.wait_event("here")
    assert sorted(member["name"] for member in here.data) == ["User 7", "User 8"]
    assert (await ada.wait_event("joining")).data == {"name": "User 8"}
    second_tab = await connect(0, "8")
    await second_tab.send("presence", channel=ROOM)
    await second_tab.wait_event("here")
    await bob.send("unsubscribe", channel=ROOM)
    await second_tab.close()
    assert (await ada.wait_event("leaving")).data == {"name": "User 8"}
    assert [event.event for event in ada.events] == ["here", "joining", "leaving"]


async def test_pusher_js_counts_members_and_finds_itself(connect: Connect) -> None:
    ada, bob = await connect(0, "7", "pusher"), await connect(1, "guest", "pusher")
    await ada.subscribe("presence-me")
    members = await bob.subscribe("presence-me")
    assert members["count"] == 2
    assert members["me"] == {"id": "guest", "info": {"name": "User guest"}}
    assert members["members"] == {"7": {"name": "User 7"}, "guest": {"name": "User guest"}}
    added = await ada.wait_event("pusher:member_added")
    assert added.data == {"id": "guest", "info": {"name": "User guest"}}
    await bob.send("disconnect")
    removed = await ada.wait_event("pusher:member_removed")
    assert removed.data == {"id": "guest", "info": {"name": "User guest"}}


async def test_whispers_reach_the_others_and_name_their_sender(connect: Connect) -> None:
    ada, bob = await connect(0, "7"), await connect(1, "8", "pusher")
    await ada.send("presence", channel=ROOM)
    await ada.wait_event("here")
    await bob.subscribe(ROOM)
    await ada.send("whisper", channel=ROOM, event="typing", data={"at": 3})
    heard = await bob.wait_event("client-typing")
    assert heard.data == {"at": 3}
    await eventually(
        lambda: [frame["user_id"] for frame in bob.frames if frame["event"] == "client-typing"] == ["7"],
        what="the frame named its sender",
    )
    await ada.send("listen", channel=ROOM, event=".client-typing")
    await ada.send("whisper", channel=ROOM, event="ready", data={})  # commands are taken in order, so it listens now
    await bob.wait_event("client-ready")
    await bob.send("trigger", channel=ROOM, event="client-typing", data={"at": 4})
    assert (await ada.wait_event(".client-typing")).data == {"at": 4}
    assert len(ada.events) == 3, "here, joining, and nothing of its own whispers"


async def test_members_are_right_after_the_clients_node_was_drained(connect: Connect, nodes: list[GatewayNode]) -> None:
    """SIGTERM on one node: its clients are told 4200 and come back; nobody is counted twice or forgotten."""
    ada, bob = await connect(0, "7", "pusher"), await connect(1, "8", "pusher")
    await ada.subscribe("presence-drain")
    await bob.subscribe("presence-drain")
    nodes[1].service.stop()
    await ada.wait_event("pusher:member_removed")
    nodes[1].service.start()
    assert (await eventually(lambda: sdk(nodes[0]).users_info("presence-drain")["users"], 30))[0] == {"id": "7"}
    await eventually(
        lambda: {user["id"] for user in sdk(nodes[0]).users_info("presence-drain")["users"]} == {"7", "8"}, 30
    )
    await ada.wait_event("pusher:member_added", count=2)


async def test_pusher_js_signs_in_and_hears_what_is_sent_to_its_user(
    connect: Connect, nodes: list[GatewayNode]
) -> None:
    tabs = [await connect(0, "7", "pusher"), await connect(1, "7", "pusher")]
    other = await connect(0, "8", "pusher")
    for client in (*tabs, other):
        await client.send("user")
        await client.send("signin")
        await _signed_in(client)
    sdk(nodes[1]).send_to_user("7", "greeting", {"hello": "there"})
    for client in tabs:
        assert (await client.wait_event("greeting", channel="#user")).data == {"hello": "there"}
    sdk(nodes[0]).send_to_user("8", "greeting", {"hello": "other"})
    assert (await other.wait_event("greeting", channel="#user")).data == {"hello": "other"}
    assert not any(client.errors for client in (*tabs, other))


async def test_watchlists_over_nodes(connect: Connect) -> None:
    watcher, watched = await connect(0, "watcher:w1,w2", "pusher"), await connect(1, "w1", "pusher")
    await watcher.send("user")
    await watcher.send("signin")
    assert (await watcher.wait_event("offline", channel="#watchlist")).data["user_ids"] == ["w1", "w2"]
    await watched.send("signin")
    assert (await watcher.wait_event("online", channel="#watchlist")).data["user_ids"] == ["w1"]
    await watched.send("disconnect")
    assert (await watcher.wait_event("offline", channel="#watchlist", count=2)).data["user_ids"] == ["w1"]


async def test_a_terminated_user_does_not_come_back(connect: Connect, nodes: list[GatewayNode]) -> None:
    client = await connect(1, "doomed", "pusher")
    await client.send("signin")
    await _signed_in(client)
    sdk(nodes[0]).terminate_user_connections("doomed")
    await client.wait_state("disconnected")
    assert client.errors[0]["code"] == 4009


async def test_a_signed_in_user_joins_presence_without_channel_data(connect: Connect, back_end: AuthEndpoint) -> None:
    back_end.gives_channel_data = False
    client = await connect(0, "9", "pusher")
    await client.send("signin")
    await _signed_in(client)
    members = await client.subscribe("presence-by-sign-in")
    assert members["members"] == {"9": {"name": "User 9"}}
    assert members["me"]["id"] == "9"


async def _signed_in(client: NodeClient) -> None:
    await eventually(
        lambda: any(frame.get("event") == "pusher:signin_success" for frame in client.frames), 10, what="signed in"
    )
