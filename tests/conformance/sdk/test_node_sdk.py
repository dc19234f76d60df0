"""The official `pusher` library for Node, unmodified, against two gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import APP, Clients, GatewayNode, TestApp
from tests.support.node_sdk import NodeSdk, SdkRefusedError, node_sdk
from tests.support.polling import eventually

MASTER_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
async def sdk(nodes: list[GatewayNode]) -> AsyncIterator[NodeSdk]:
    async with node_sdk(nodes[0], encryptionMasterKeyBase64=MASTER_KEY) as running:
        yield running


async def test_a_wrong_secret_is_refused(nodes: list[GatewayNode]) -> None:
    async with node_sdk(nodes[0], TestApp(APP.id, APP.key, "wrong")) as forged:
        with pytest.raises(SdkRefusedError) as refused:
            await forged.call("trigger", "room", "e", {})
    assert refused.value.status == 401
    assert refused.value.body.startswith("Invalid signature: you should have sent HmacSHA256Hex(")


async def test_too_much_data_is_refused(sdk: NodeSdk) -> None:
    with pytest.raises(SdkRefusedError, match="10240 bytes") as refused:
        await sdk.call("trigger", "room", "e", "x" * 10_241)
    assert refused.value.status == 413


async def test_trigger(nodes: list[GatewayNode], clients: Clients, sdk: NodeSdk) -> None:
    client, sender = await clients.open(nodes[1]), await clients.open(nodes[1])
    for each in (client, sender):
        await each.subscribe("js-a")
    params = {"socket_id": sender.socket_id}
    assert await sdk.call("trigger", ["js-a", "js-b"], "e", {"text": "Adèle ✓"}, params) == {}
    assert (await client.wait_for("e")).data == {"text": "Adèle ✓"}
    told = {"channels": {"js-a": {"subscription_count": 2}, "presence-js-none": {"user_count": 0}}}
    channels, params = ["js-a", "presence-js-none"], {"info": "user_count,subscription_count"}

    async def right() -> bool:  # what another node counted takes some milliseconds to be seen here
        return bool(await sdk.call("trigger", channels, "mark", {}, params) == told)

    await eventually(right, 5)
    await sender.wait_for("mark")
    assert sender.of("e") == []


async def test_trigger_batch(nodes: list[GatewayNode], clients: Clients, sdk: NodeSdk) -> None:
    client = await clients.open(nodes[1])
    await client.subscribe("js-batch")
    batch = [{"channel": "js-batch", "name": f"n{number}", "data": {"n": number}} for number in range(10)]
    assert await sdk.call("triggerBatch", batch) == {}
    await client.wait_for("n9")
    assert [frame.data["n"] for frame in client.frames if frame.event.startswith("n")] == list(range(10))
    infos = [{"channel": "js-batch", "name": "a", "data": "1", "info": "subscription_count"}, batch[0]]
    assert await sdk.call("triggerBatch", infos) == {"batch": [{"subscription_count": 1}, {}]}


async def test_reading_channels(nodes: list[GatewayNode], clients: Clients, sdk: NodeSdk) -> None:
    for node, user in zip(nodes, ("7", "8"), strict=True):
        await (await clients.open(node)).subscribe("presence-js", user_id=user)

    async def right() -> bool:
        params = {"filter_by_prefix": "presence-js", "info": "user_count"}
        listed = await sdk.call("get", {"path": "/channels", "params": params})
        return bool(listed == {"channels": {"presence-js": {"user_count": 2}}})

    await eventually(right, 5)
    one = await sdk.call("get", {"path": "/channels/presence-js", "params": {"info": "user_count,subscription_count"}})
    assert one == {"occupied": True, "user_count": 2}
    users = await sdk.call("get", {"path": "/channels/presence-js/users"})
    assert sorted(user["id"] for user in users["users"]) == ["7", "8"]
    assert await sdk.call("get", {"path": "/channels/js-never"}) == {"occupied": False}


async def test_authorize_channel(nodes: list[GatewayNode], clients: Clients, sdk: NodeSdk) -> None:
    client = await clients.open(nodes[0])
    member = {"user_id": "7", "user_info": {"name": "Adèle"}}
    signed = await sdk.call("authorizeChannel", client.socket_id, "presence-js-auth", member)
    await client.send("pusher:subscribe", {"channel": "presence-js-auth", **signed})
    roster = await client.answer_to_subscribe("presence-js-auth")
    assert roster["presence"]["hash"] == {"7": {"name": "Adèle"}}


async def test_users_are_signed_in_sent_to_and_terminated(
    nodes: list[GatewayNode], clients: Clients, sdk: NodeSdk
) -> None:
    client = await clients.open(nodes[1])
    signed = await sdk.call("authenticateUser", client.socket_id, {"id": "js-7", "name": "Ada"})
    await client.send("pusher:signin", signed)
    await client.wait_for("pusher:signin_success")

    async def reached() -> bool:
        await sdk.call("sendToUser", "js-7", "hello", {"a": 1})
        return bool(client.of("hello"))

    await eventually(reached, 5)
    assert await sdk.call("terminateUserConnections", "js-7") == {}
    assert await client.wait_closed() == 4009


async def test_encrypted_channels(nodes: list[GatewayNode], clients: Clients, sdk: NodeSdk) -> None:
    client = await clients.open(nodes[1])
    signed = await sdk.call("authorizeChannel", client.socket_id, "private-encrypted-vault")
    assert signed["shared_secret"] == "jNneKMvh5rhUq1TOy4jU3xJ9tJ7g+DW3fSZKwHvsZQ8="
    await client.send("pusher:subscribe", {"channel": "private-encrypted-vault", "auth": signed["auth"]})
    await client.answer_to_subscribe("private-encrypted-vault")
    assert await sdk.call("trigger", "private-encrypted-vault", "e", {"secret": 1}) == {}
    frame = await client.wait_for("e")
    assert sorted(frame.data) == ["ciphertext", "nonce"]
