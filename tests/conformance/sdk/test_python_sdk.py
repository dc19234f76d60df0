"""The official `pusher` library for Python, unmodified, against two gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pusher
import pytest
from pusher.errors import PusherBadAuth, PusherBadRequest

from tests.support.gateway import APP, Clients, GatewayNode, TestApp
from tests.support.polling import eventually

MASTER_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def library(node: GatewayNode, app: TestApp = APP) -> Any:
    return pusher.Pusher(
        app_id=app.id,
        key=app.key,
        secret=app.secret,
        host="127.0.0.1",
        port=node.port,
        ssl=False,
        encryption_master_key_base64=MASTER_KEY,
    )


async def blocking(call: Callable[..., Any], *arguments: Any) -> Any:
    """The library blocks; the test's clients must go on meanwhile."""
    return await asyncio.to_thread(call, *arguments)


async def test_a_wrong_secret_is_bad_auth(nodes: list[GatewayNode]) -> None:
    with pytest.raises(PusherBadAuth, match="Invalid signature"):
        await blocking(library(nodes[0], TestApp(APP.id, APP.key, "wrong")).trigger, "room", "e", {})


async def test_a_bad_request_is_told(nodes: list[GatewayNode]) -> None:
    with pytest.raises(PusherBadRequest, match="Users can be listed for presence channels only"):
        await blocking(library(nodes[0]).users_info, "room")
    with pytest.raises(PusherBadRequest, match="user_count is for presence channels"):
        await blocking(library(nodes[0]).channel_info, "room", ["user_count"])


async def test_trigger(nodes: list[GatewayNode], clients: Clients) -> None:
    client, sender = await clients.open(nodes[1]), await clients.open(nodes[1])
    for each in (client, sender):
        await each.subscribe("py-a")
    assert await blocking(library(nodes[0]).trigger, ["py-a", "py-b"], "e", {"text": "Adèle ✓"}, sender.socket_id) == {}
    assert (await client.wait_for("e")).data == {"text": "Adèle ✓"}
    assert await blocking(library(nodes[0]).trigger, "py-a", "mark", "plain text") == {}
    await sender.wait_for("mark")
    assert sender.of("e") == []


async def test_trigger_batch(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[1])
    await client.subscribe("py-batch")
    batch = [{"channel": "py-batch", "name": f"n{number}", "data": {"n": number}} for number in range(10)]
    assert await blocking(library(nodes[0]).trigger_batch, batch) == {}
    await client.wait_for("n9")
    assert [frame.data["n"] for frame in client.frames if frame.event.startswith("n")] == list(range(10))


async def test_reading_channels(nodes: list[GatewayNode], clients: Clients) -> None:
    """The library signs `body_md5` on GET too; Reverb and Sockudo refuse that."""
    for node, user in zip(nodes, (7, "8"), strict=True):
        client = await clients.open(node)
        await client.subscribe("presence-py", user_id=user)
        await client.subscribe("py-plain")
    sdk = library(nodes[0])
    listed = {"channels": {"presence-py": {"user_count": 2}}}

    plain = {"occupied": True, "subscription_count": 2}

    async def right() -> bool:  # what another node counted takes some milliseconds to be seen here
        members = await blocking(sdk.channels_info, "presence-p", ["user_count"])
        return bool(members == listed and await blocking(sdk.channel_info, "py-plain", ["subscription_count"]) == plain)

    await eventually(right, 5)
    assert set((await blocking(sdk.channels_info))["channels"]) >= {"presence-py", "py-plain"}
    assert await blocking(sdk.channel_info, "presence-py", ["user_count"]) == {"occupied": True, "user_count": 2}
    assert await blocking(sdk.channel_info, "py-plain", ["subscription_count"]) == plain
    assert await blocking(sdk.channel_info, "py-never") == {"occupied": False}
    users = await blocking(sdk.users_info, "presence-py")
    assert sorted(user["id"] for user in users["users"]) == ["7", "8"]


async def test_authenticate(nodes: list[GatewayNode], clients: Clients) -> None:
    """The library's JSON has spaces; the gateway verifies the exact bytes."""
    client = await clients.open(nodes[0])
    sdk = library(nodes[0])
    signed = sdk.authenticate("presence-py-auth", client.socket_id, {"user_id": "7", "user_info": {"name": "Adèle"}})
    await client.send("pusher:subscribe", {"channel": "presence-py-auth", **signed})
    roster = await client.answer_to_subscribe("presence-py-auth")
    assert roster["presence"]["hash"] == {"7": {"name": "Adèle"}}


async def test_users_are_signed_in_sent_to_and_terminated(nodes: list[GatewayNode], clients: Clients) -> None:
    """The library terminates at `/users/…` without `/apps/{id}`."""
    client = await clients.open(nodes[1])
    sdk = library(nodes[0])
    signed = sdk.authenticate_user(client.socket_id, {"id": "py-7", "name": "Ada"})
    await client.send("pusher:signin", signed)
    await client.wait_for("pusher:signin_success")

    async def reached() -> bool:
        await blocking(sdk.send_to_user, "py-7", "hello", {"a": 1})
        return bool(client.of("hello"))

    await eventually(reached, 5)
    assert await blocking(sdk.terminate_user_connections, "py-7") == {}
    assert await client.wait_closed() == 4009


async def test_encrypted_channels(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[1])
    sdk = library(nodes[0])
    signed = sdk.authenticate("private-encrypted-py", client.socket_id)
    await client.send("pusher:subscribe", {"channel": "private-encrypted-py", "auth": signed["auth"]})
    await client.answer_to_subscribe("private-encrypted-py")
    assert await blocking(sdk.trigger, "private-encrypted-py", "e", {"secret": 1}) == {}
    frame = await client.wait_for("e")
    assert sorted(frame.data) == ["ciphertext", "nonce"]
