"""Whatever a client sends: an answer in the protocol's words, no crash, and nothing lost for anybody else."""

from __future__ import annotations

import contextlib
import json
import random
import secrets
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.speedups import apply_mask

from tests.support.gateway import APP, Clients, GatewayNode, PusherClient, SubscribeRefused, running_gateways
from tests.support.polling import eventually
from tests.support.publishing import Publisher

URL = f"/app/{APP.key}?protocol=7&client=js&version=8.6.0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        "{",
        '{"event":7}',
        '{"event":"pusher:subscribe"}',
        '{"event":"pusher:subscribe","data":null}',
        '{"event":"pusher:subscribe","data":[]}',
        '{"event":"pusher:subscribe","data":{"channel":7}}',
        '{"event":"pusher:subscribe","data":{"channel":{}}}',
        '{"event":"pusher:subscribe","data":{"channel":"private-a","auth":["x"]}}',
        '{"event":"pusher:subscribe","data":{"channel":"private-a","auth":7}}',
        '{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"a:b","channel_data":7}}',
        '{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"a:b","channel_data":{"user_id":"7"}}}',
        '{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"a:b","channel_data":[]}}',
        '{"event":"pusher:unsubscribe","data":{}}',
        '{"event":"nobody:knows"}',
        '{"event":"client-x","channel":7}',
        '{"event":"client-x","channel":["private-a"],"data":{}}',
        "[" * 60_000,
    ],
)
async def test_a_malformed_message_is_answered_and_the_connection_goes_on(
    gateway: GatewayNode, clients: Clients, text: str
) -> None:
    client = await clients.open(gateway)
    await client.send_text(text)
    error = await client.wait_for("pusher:error")
    assert isinstance(error.message["data"], dict), "an object, not JSON in a string"
    assert error.data["code"] is None
    assert error.data["message"]
    assert "channel" not in error.message
    await client.round_trip()
    assert len(client.of("pusher:error")) == 1


@pytest.mark.parametrize(
    "channel",
    ["", "a b", "a\n", "private-a\n", "ä", "a/b", "#a", "#server-to-user-", "x" * 201, "private-" + "x" * 200, "a\x00"],
)
async def test_a_bad_channel_name_is_refused(gateway: GatewayNode, clients: Clients, channel: str) -> None:
    client = await clients.open(gateway)
    await client.send("pusher:subscribe", {"channel": channel, "auth": "sharedjox:00"})
    error = await client.wait_for("pusher:subscription_error")
    assert error.channel == channel[:200]
    await client.round_trip()


@pytest.mark.parametrize("channel", ["x" * 200, "private-" + "x" * 192, "a_-=@,.;Z9"])
async def test_names_up_to_the_limit_and_of_all_letters_allowed_are_taken(
    gateway: GatewayNode, clients: Clients, channel: str
) -> None:
    client = await clients.open(gateway)
    assert await client.subscribe(channel)


def signatures(client: PusherClient, other: PusherClient) -> dict[str, Any]:
    good = APP.sign_channel(client.socket_id, "private-a")
    key, _, digest = good.partition(":")
    return {
        "none": None,
        "empty": "",
        "no colon": digest,
        "upper case": f"{key}:{digest.upper()}",
        "upper key": f"{key.upper()}:{digest}",
        "other key": f"other:{digest}",
        "other socket": APP.sign_channel(other.socket_id, "private-a"),
        "other channel": APP.sign_channel(client.socket_id, "private-b"),
        "presence form": APP.sign_channel(client.socket_id, "private-a", '{"user_id":1}'),
        "as a user": APP.sign_user(client.socket_id, "private-a"),
        "truncated": good[:-1],
        "longer": good + "0",
        "not ascii": "sharedjox:é",
        "huge": "sharedjox:" + "0" * 50_000,
    }


async def test_every_forged_signature_is_refused(gateway: GatewayNode, clients: Clients) -> None:
    client, other = await clients.open(gateway), await clients.open(gateway)
    for kind, auth in signatures(client, other).items():
        before = len(client.frames)
        await client.send_text(
            json.dumps({"event": "pusher:subscribe", "data": {"channel": "private-a", "auth": auth}})
        )
        with pytest.raises(SubscribeRefused) as refused:
            await client.answer_to_subscribe("private-a", before)
        assert (refused.value.data["type"], refused.value.data["status"]) == ("AuthError", 401), kind
    assert await client.subscribe("private-a")


async def test_the_signature_covers_channel_data_to_the_byte(gateway: GatewayNode, clients: Clients) -> None:
    client = await clients.open(gateway)
    for data in ('{"user_id": 7, "user_info": {"name": "Ad\\u00e8le \u2713"}}', '{"user_id":7}'):
        auth = APP.sign_channel(client.socket_id, "private-a", data)
        before = len(client.frames)
        respaced = json.dumps(json.loads(data), separators=(" , ", " : "))
        await client.send("pusher:subscribe", {"channel": "private-a", "auth": auth, "channel_data": respaced})
        with pytest.raises(SubscribeRefused):
            await client.answer_to_subscribe("private-a", before)
        before = len(client.frames)
        await client.send("pusher:subscribe", {"channel": "private-a", "auth": auth, "channel_data": data})
        await client.answer_to_subscribe("private-a", before)


async def test_a_second_subscribe_is_checked_like_the_first_and_takes_nothing_away(
    gateway: GatewayNode, clients: Clients, publisher: Publisher
) -> None:
    client = await clients.open(gateway)
    await client.subscribe("private-held")
    before = len(client.frames)
    await client.send("pusher:subscribe", {"channel": "private-held", "auth": f"{APP.key}:{'0' * 64}"})
    with pytest.raises(SubscribeRefused) as refused:
        await client.answer_to_subscribe("private-held", before)
    assert refused.value.data["status"] == 401
    await client.subscribe("private-held")
    await publisher.publish("private-held", {"n": 1})
    await client.wait_for("test.event")
    await client.round_trip()
    assert len(client.of("test.event")) == 1


async def test_a_channel_that_is_held_is_acknowledged_again_when_there_is_room_for_no_other(
    tmp_path: Path, redis_url: str
) -> None:
    apps = [APP.config(limits={"max_channels_per_connection": 2})]
    with running_gateways(tmp_path, redis_url, count=1, apps=apps) as (node,):
        clients = Clients()
        client = await clients.open(node)
        for channel in ("room-1", "room-2", "room-1", "room-2"):
            await client.subscribe(channel)
        with pytest.raises(SubscribeRefused) as refused:
            await client.subscribe("room-3")
        assert (refused.value.data["type"], refused.value.data["status"]) == ("LimitReached", 4100)
        await client.unsubscribe("room-1")
        await client.subscribe("room-3")
        await clients.close()


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("extra", [{}, {"channel_data": None}, {"unknown": [1]}])
async def test_lenient_forms_of_subscribe(
    gateway: GatewayNode, clients: Clients, wrap: bool, extra: dict[str, Any]
) -> None:
    client = await clients.open(gateway)
    data = {"channel": "private-a", "auth": APP.sign_channel(client.socket_id, "private-a"), **extra}
    await client.send_text(json.dumps({"event": "pusher:subscribe", "data": json.dumps(data) if wrap else data}))
    await client.answer_to_subscribe("private-a")


async def test_a_malformed_recover_is_an_error_and_not_a_lost_subscription(
    gateway: GatewayNode, clients: Clients
) -> None:
    client = await clients.open(gateway)
    assert "recovered" not in await client.subscribe("jobs.discovery", recover={"epoch": 7})
    assert (await client.wait_for("pusher:error")).data["code"] is None


async def raw(port: int) -> ClientConnection:
    socket = await connect(f"ws://127.0.0.1:{port}{URL}", proxy=None, compression=None, ping_interval=None)
    await socket.recv()
    return socket


def frame(payload: bytes, first: int, *, masked: bool = True, length: bytes | None = None) -> bytes:
    size = length if length is not None else bytes((len(payload),))
    head = bytes((first, (0x80 if masked else 0) | size[0])) + size[1:]
    if not masked:
        return head + payload
    mask = secrets.token_bytes(4)
    return head + mask + apply_mask(payload, mask)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(b"x", 0xC1), 1002, id="reserved-bit"),
        pytest.param(frame(b"x", 0x83), 1002, id="unknown-opcode"),
        pytest.param(frame(b"{}", 0x81, masked=False), 1002, id="not-masked"),
        pytest.param(frame(b"x", 0x09), 1002, id="fragmented-ping"),
        pytest.param(frame(b"x", 0x80), 1002, id="continuation-of-nothing"),
        pytest.param(frame(b"\xff\xff", 0x82), 1003, id="binary"),
        pytest.param(frame(b"\xff\xff", 0x82) + frame(b"x", 0xC1), 1003, id="binary-and-then-a-reserved-bit"),
        pytest.param(frame(b"", 0x81, length=b"\x7f" + (1 << 40).to_bytes(8, "big")), 1009, id="a-terabyte"),
        pytest.param(frame(b"x", 0x88), 1002, id="short-close"),
        pytest.param(frame((1005).to_bytes(2, "big"), 0x88), 1002, id="close-1005"),
        pytest.param(frame((4000).to_bytes(2, "big") + b"\xff", 0x88), 1007, id="close-reason-not-utf8"),
    ],
)
async def test_a_breach_of_framing_closes_that_connection_with_its_code(
    gateway: GatewayNode, clients: Clients, data: bytes, code: int
) -> None:
    bystander = await clients.open(gateway)
    socket = await raw(gateway.port)
    socket.transport.write(data)
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:  # an error in band may come first
            pass
    assert socket.close_code == code
    await bystander.round_trip()


NOT_UTF8 = b'{"event":"client-x","channel":"private-utf8","data":"\xff\xfe"}'


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(frame(NOT_UTF8, 0x81), id="whole"),
        pytest.param(frame(NOT_UTF8, 0x81) + frame(b"x", 0xC1), id="and-then-a-reserved-bit"),
        pytest.param(frame(NOT_UTF8[:60], 0x01) + frame(NOT_UTF8[60:], 0x80), id="fragmented"),
        pytest.param(frame(b'{"event":"\xed\xa0\x80"}', 0x81), id="surrogate"),
        pytest.param(frame(b'{"event":"pusher:ping","data":"\xc0\x80"}', 0x81), id="overlong"),
    ],
)
async def test_text_that_is_not_utf8_closes_with_1007_and_reaches_nobody(
    gateway: GatewayNode, clients: Clients, sent: bytes
) -> None:
    """A browser ends its connection on such a frame: passed on, one member could cut off all others of a channel."""
    other, sender = await clients.open(gateway), await clients.open(gateway)
    for client in (other, sender):
        await client.subscribe("private-utf8")
    sender.socket.transport.write(sent)
    assert await sender.wait_closed() == 1007
    await other.round_trip()
    assert other.of("client-x") == []


async def test_a_character_cut_by_fragments_is_whole_again(gateway: GatewayNode, clients: Clients) -> None:
    other, sender = await clients.open(gateway), await clients.open(gateway)
    for client in (other, sender):
        await client.subscribe("private-utf8")
    text = '{"event":"client-x","channel":"private-utf8","data":"Adèle ✓"}'.encode()
    cut = text.index("✓".encode()) + 1
    sender.socket.transport.write(frame(text[:cut], 0x01) + frame(text[cut:], 0x80))
    assert (await other.wait_for("client-x")).data == "Adèle ✓"


async def test_a_fragmented_subscribe_with_a_ping_in_between_is_understood(gateway: GatewayNode) -> None:
    socket = await raw(gateway.port)
    text = json.dumps({"event": "pusher:subscribe", "data": {"channel": "jobs.discovery"}}).encode()
    parts = frame(text[:20], 0x01) + frame(b"hello", 0x89) + frame(text[20:], 0x80)
    for start in range(0, len(parts), 7):
        socket.transport.write(parts[start : start + 7])
    assert json.loads(await socket.recv())["event"] == "pusher_internal:subscription_succeeded"
    await socket.close()


async def test_the_close_handshake_echoes_the_code(gateway: GatewayNode) -> None:
    socket = await raw(gateway.port)
    await socket.close(4444, "bye")
    assert socket.close_code == 4444


async def test_a_burst_of_noise_harms_nobody(gateway: GatewayNode, clients: Clients, publisher: Publisher) -> None:
    """Random frames, well and badly formed, on many connections; a bystander on the same process notices nothing."""
    seed = 20261123
    dice = random.Random(seed)
    bystander = await clients.open(gateway)
    await bystander.subscribe("jobs.discovery")
    for number in range(300):
        socket = await raw(gateway.port)
        for _ in range(10):
            payload = dice.randbytes(dice.randrange(120))
            opcode = dice.choice([0, 1, 2, 8, 9, 10, 3, 11])
            socket.transport.write(frame(payload, dice.choice([0x00, 0x80, 0x80, 0x80, 0xC0]) | opcode))
        socket.transport.abort()
        if number % 100 == 0:
            await publisher.publish("jobs.discovery", {"number": number})
    await bystander.round_trip()
    await bystander.wait_for("test.event", count=3)

    async def only_the_bystander() -> bool:
        return await gateway.metric("sharedjox_gateway_connections") == 1

    await eventually(only_the_bystander, what="every other connection is gone")


async def test_a_message_over_the_limit_closes_with_1009(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1, env={"MAX_MESSAGE_BYTES": "2048"}) as (node,):
        socket = await raw(node.port)
        await socket.send("x" * 2048)
        assert json.loads(await socket.recv())["event"] == "pusher:error"
        await socket.send("x" * 2049)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1009


def test_the_helper_builds_the_frames_it_says() -> None:
    assert len(frame(b"abc", 0x81)) == 9
    assert Frame(Opcode.TEXT, b"abc").serialize(mask=False) == frame(b"abc", 0x81, masked=False)
