"""Publishing over HTTP: exact answers, who gets what on which node, order, bytes, what is durable."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64decode

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.redis_layout import log_key

from tests.support.gateway import APP, Clients, GatewayNode
from tests.support.http_api import call, trigger
from tests.support.polling import eventually, never

ENCRYPTED = '{"nonce":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX","ciphertext":"CKfBbA6OmiDTm7WLPXnjEHPlVgzSoNTGzJnwSJtf5gg="}'


async def test_success_is_an_empty_object(node: GatewayNode) -> None:
    answer = await trigger(node, "room", "e")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"{}", "application/json")
    batch = {"batch": [{"name": "a", "channel": "room", "data": "1"}]}
    assert (await call(node, "POST", "/batch_events", batch)).body == b"{}"


async def test_an_event_reaches_every_node_but_the_excluded_connection(
    nodes: list[GatewayNode], clients: Clients
) -> None:
    """The call lands on a node that does not have the excluded connection."""
    sender, beside = await clients.open(nodes[0]), await clients.open(nodes[0])
    elsewhere = await clients.open(nodes[1])
    for client in (sender, beside, elsewhere):
        await client.subscribe("others-1")
        await client.subscribe("others-2")
    assert (await trigger(nodes[1], ["others-1", "others-2"], "e", socket_id=sender.socket_id)).status == 200
    for channel in ("others-1", "others-2"):
        await beside.wait_for("e", channel=channel)
        await elsewhere.wait_for("e", channel=channel)
    for channel in ("others-1", "others-2"):
        await trigger(nodes[1], channel, "mark")
        await sender.wait_for("mark", channel=channel)
    assert sender.of("e") == []


@pytest.mark.parametrize("socket_id", ["1.2", "99999999999.99999999999"])
async def test_an_unknown_socket_id_excludes_nobody(nodes: list[GatewayNode], clients: Clients, socket_id: str) -> None:
    client = await clients.open(nodes[0])
    await client.subscribe("stale")
    before = len(client.of("e"))
    assert (await trigger(nodes[1], "stale", "e", socket_id=socket_id)).status == 200
    await client.wait_for("e", count=before + 1)


async def test_a_channel_named_twice_gets_the_event_once(node: GatewayNode, clients: Clients) -> None:
    client = await clients.open(node)
    await client.subscribe("twice")
    await trigger(node, ["twice", "twice"], "e")
    await trigger(node, "twice", "mark")
    await client.wait_for("mark")
    assert len(client.of("e")) == 1


async def test_data_arrives_byte_for_byte(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[1])
    await client.subscribe("bytes")
    texts = ['{"a": 1.0, "b":"\\u00e9"}', "no json", "", " spaced ", 'q"\\ \u2028 \x00 😀', "1", "null"]
    for text in texts:
        assert (await trigger(nodes[0], "bytes", "e", text)).status == 200
    await client.wait_for("e", count=len(texts))
    assert [frame.message["data"] for frame in client.of("e")] == texts


async def test_encrypted_data_passes_untouched(nodes: list[GatewayNode], clients: Clients) -> None:
    """The recipe's vector: the shared secret opens what arrives, so nothing was changed."""
    client = await clients.open(nodes[1])
    await client.subscribe("private-encrypted-vault")
    body = {"name": "secret", "channels": ["private-encrypted-vault"], "data": ENCRYPTED}
    assert (await call(nodes[0], "POST", "/events", body)).body == b"{}"
    frame = await client.wait_for("secret")
    assert frame.message["data"] == ENCRYPTED
    secret = hashlib.sha256(b"private-encrypted-vault" + b"0123456789abcdef0123456789abcdef").hexdigest()
    assert secret == "8cd9de28cbe1e6b854ab54cecb88d4df127db49ee0f835b77d264ac07bec650f"
    assert len(b64decode(frame.data["ciphertext"])) == 32


async def test_a_batch_keeps_its_order_per_channel(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[1])
    await client.subscribe("batch-a")
    await client.subscribe("batch-b")
    batch = [{"name": f"n{number}", "channel": f"batch-{'ab'[number % 2]}", "data": "{}"} for number in range(10)]
    assert (await call(nodes[0], "POST", "/batch_events", {"batch": batch})).status == 200
    await client.wait_for("n8")
    await client.wait_for("n9")
    for channel in ("batch-a", "batch-b"):
        names = [frame.event for frame in client.frames if frame.channel == channel and frame.event[0] == "n"]
        assert names == [item["name"] for item in batch if item["channel"] == channel]


async def test_a_bad_event_in_a_batch_keeps_all_back(node: GatewayNode, redis: Redis) -> None:
    batch = [{"name": "a", "channel": "held-back", "data": "1"}, {"name": "pusher:x", "channel": "room", "data": "2"}]
    answer = await call(node, "POST", "/batch_events", {"batch": batch})
    assert (answer.status, answer.text.startswith("batch[1]: ")) == (400, True)
    assert await redis.exists(log_key(APP.id, "held-back")) == 0


async def test_events_are_durable_and_recovered(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[0])
    position = (await client.subscribe("durable"))["position"]
    for number in range(3):
        await trigger(nodes[1], "durable", "e", str(number))
    later = await clients.open(nodes[1])
    answer = await later.subscribe("durable", recover=position)
    assert (answer["recovered"], answer["replayed"]) == (True, 3)
    await later.wait_for("e", count=3)
    frames = [frame.message for frame in later.of("e")]
    assert [(frame["data"], frame["offset"]) for frame in frames] == [("0", 1), ("1", 2), ("2", 3)]
    assert all(frame["epoch"] == position["epoch"] and frame["id"] for frame in frames)


async def test_a_repeated_id_is_published_once(nodes: list[GatewayNode], clients: Clients) -> None:
    """Our extension for publishers that repeat after a lost answer."""
    client = await clients.open(nodes[0])
    await client.subscribe("ids")
    for node in (*nodes, *nodes):
        assert (await trigger(node, "ids", "e", id="order-7")).status == 200
    await trigger(nodes[0], "ids", "mark")
    await client.wait_for("mark")
    assert [frame.message["id"] for frame in client.of("e")] == ["order-7"]


async def test_parameters_may_be_in_the_query(node: GatewayNode, clients: Clients) -> None:
    client = await clients.open(node)
    await client.subscribe("query")
    query = {"name": "e", "channels[]": "query", "data": '{"é":1}'}
    assert (await call(node, "POST", "/events", query=query)).body == b"{}"
    assert (await client.wait_for("e")).data == {"é": 1}


async def test_the_deprecated_form_answers_202(node: GatewayNode, clients: Clients) -> None:
    client, excluded = await clients.open(node), await clients.open(node)
    for each in (client, excluded):
        await each.subscribe("old")
    query = {"name": "e", "socket_id": excluded.socket_id}
    answer = await call(node, "POST", "/channels/old/events", b"[1, 2]", query=query)
    assert answer.status == 202
    assert (await client.wait_for("e")).message["data"] == "[1, 2]"
    await never(lambda: excluded.of("e"), 0.2)


async def test_client_events_may_come_from_the_server(node: GatewayNode, clients: Clients) -> None:
    client = await clients.open(node)
    await client.subscribe("room")
    assert (await trigger(node, "room", "client-typing")).status == 200
    await client.wait_for("client-typing")


async def test_info_tells_of_each_channel(nodes: list[GatewayNode], clients: Clients) -> None:
    for node in nodes:
        client = await clients.open(node)
        await client.subscribe("presence-info", user_id="7")
        await client.subscribe("info")

    async def right() -> bool:
        answer = await trigger(nodes[0], ["presence-info", "info", "nobody"], "e", info="user_count,subscription_count")
        return bool(
            answer.json
            == {
                "channels": {
                    "presence-info": {"user_count": 1},
                    "info": {"subscription_count": 2},
                    "nobody": {"subscription_count": 0},
                }
            }
        )

    await eventually(right, 5)


async def test_info_in_a_batch_keeps_the_length(node: GatewayNode, clients: Clients) -> None:
    await (await clients.open(node)).subscribe("counted")
    batch = [
        {"name": "a", "channel": "counted", "data": "1", "info": "subscription_count"},
        {"name": "b", "channel": "counted", "data": "2"},
        {"name": "c", "channel": "presence-none", "data": "3", "info": "user_count"},
    ]
    answer = await call(node, "POST", "/batch_events", {"batch": batch})
    assert answer.json == {"batch": [{"subscription_count": 1}, {}, {"user_count": 0}]}


async def test_a_path_prefix_is_taken_off_before_verifying(node: GatewayNode) -> None:
    body = {"name": "e", "channels": ["room"], "data": "{}"}
    path = f"/apps/{APP.id}/events"
    assert (await call(node, "POST", f"//sockets{path}", body, signed_path=path)).body == b"{}"
    assert (await call(node, "POST", f"//sockets{path}", body)).body == b"{}"


async def test_concurrent_publishers_lose_nothing(nodes: list[GatewayNode], clients: Clients) -> None:
    client = await clients.open(nodes[0])
    await client.subscribe("crowd")
    sent = [
        trigger(nodes[number % 2], "crowd", "e", json.dumps({"n": number}), id=f"crowd-{number}")
        for number in range(100)
    ]
    assert {answer.status for answer in await asyncio.gather(*sent)} == {200}
    await client.wait_for("e", count=100)
    assert sorted(frame.data["n"] for frame in client.of("e")) == list(range(100))
    assert [frame.message["offset"] for frame in client.of("e")] == list(range(1, 101))
