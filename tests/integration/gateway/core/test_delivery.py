"""Events from Redis to sockets: order, exclusion, recovery on another node, revocation, client events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.control import Close, Unsubscribe
from sharedjox_contracts.redis_layout import denied_key
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, Clients, GatewayNode, PusherClient, SubscribeRefused
from tests.support.polling import eventually
from tests.support.publishing import Publisher


def numbers(client: PusherClient, channel: str) -> list[Any]:
    return [frame.data["n"] for frame in client.of("test.event", channel)]


async def test_frames_carry_id_epoch_and_offset_and_the_position_says_where_one_stands(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher
) -> None:
    first = await clients.open(gateways[0])
    position = (await first.subscribe("frames"))["position"]
    assert position["offset"] == 0
    await publisher.publish("frames", {"n": 1}, event_id="event-one")
    frame = (await first.wait_for("test.event")).message
    assert frame == {
        "event": "test.event",
        "data": '{"n":1}',
        "channel": "frames",
        "id": "event-one",
        "epoch": position["epoch"],
        "offset": 1,
    }
    other_node = await clients.open(gateways[1])
    assert (await other_node.subscribe("frames"))["position"] == {"epoch": position["epoch"], "offset": 1}


async def test_a_repeat_of_an_event_id_changes_nothing(
    gateway: GatewayNode, clients: Clients, publisher: Publisher
) -> None:
    client = await clients.open(gateway)
    await client.subscribe("repeats")
    assert [await publisher.publish("repeats", {"n": n}, event_id=f"id-{n}") for n in (1, 1, 2, 1)] == [1, 1, 2, 1]
    await client.wait_for("test.event", count=2)
    await client.round_trip()
    assert numbers(client, "repeats") == [1, 2]


async def test_a_thousand_events_arrive_in_order_on_both_nodes(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher
) -> None:
    receivers = [await clients.open(node) for node in gateways for _ in range(3)]
    for receiver in receivers:
        await receiver.subscribe("order")
    for number in range(1000):
        await publisher.publish("order", {"n": number})
    for receiver in receivers:
        await receiver.wait_for("test.event", count=1000, deadline=20)
        assert numbers(receiver, "order") == list(range(1000))


async def test_the_excluded_socket_is_found_on_whichever_node_it_is(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher
) -> None:
    sender, other = await clients.open(gateways[0]), await clients.open(gateways[1])
    for client in (sender, other):
        await client.subscribe("others")
    await publisher.publish("others", {"n": 1}, socket_id=sender.socket_id)
    await publisher.publish("others", {"n": 2}, socket_id="1.1")
    await other.wait_for("test.event", count=2)
    await sender.wait_for("test.event")
    assert (numbers(sender, "others"), numbers(other, "others")) == ([2], [1, 2])


async def test_recovery_on_the_other_node_has_no_gap_and_no_repeat(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher
) -> None:
    first = await clients.open(gateways[0])
    await first.subscribe("recovery")
    for number in range(10):
        await publisher.publish("recovery", {"n": number})
    seen = (await first.wait_for("test.event", count=4)).message
    await first.close()
    back = await clients.open(gateways[1])
    answer = await back.subscribe("recovery", recover={"epoch": seen["epoch"], "offset": seen["offset"]})
    assert (answer["recovered"], answer["replayed"]) == (True, 6)
    assert answer["position"]["offset"] == seen["offset"]
    await publisher.publish("recovery", {"n": 10})
    await back.wait_for("test.event", count=7)
    assert numbers(back, "recovery") == [4, 5, 6, 7, 8, 9, 10]


async def test_what_history_no_longer_holds_is_told(
    gateway: GatewayNode, clients: Clients, publisher: Publisher
) -> None:
    client = await clients.open(gateway)
    epoch = (await client.subscribe("told"))["position"]["epoch"]
    await publisher.publish("told", {"n": 1})
    for recover in ({"epoch": "another", "offset": 0}, {"epoch": epoch, "offset": 99}):
        other = await clients.open(gateway)
        assert (await other.subscribe("told", recover=recover))["recovered"] is False


async def test_a_stock_client_with_a_client_id_gets_what_it_missed(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher
) -> None:
    """Nothing but the signed channel_data tells the gateway who it is; `recover` is never sent."""
    channel, data = "private-stock", '{"client_id":"tab-1"}'
    first = await clients.open(gateways[0])
    await first.subscribe(channel, channel_data=data)
    await publisher.publish(channel, {"n": 1})
    await first.wait_for("test.event")
    await first.abort()
    for number in (2, 3):
        await publisher.publish(channel, {"n": number})
    back = await clients.open(gateways[1])
    assert (await back.subscribe(channel, channel_data=data))["recovered"] is True
    await back.wait_for("test.event", count=2)
    await publisher.publish(channel, {"n": 4})
    await eventually(lambda: numbers(back, channel)[-1:] == [4])
    assert numbers(back, channel) in ([1, 2, 3, 4], [2, 3, 4])
    stranger = await clients.open(gateways[1])
    assert "recovered" not in await stranger.subscribe(channel, channel_data='{"client_id":"tab-2"}')


async def test_unsubscribe_behind_subscribe_is_not_overtaken(
    gateway: GatewayNode, clients: Clients, publisher: Publisher
) -> None:
    client = await clients.open(gateway)
    for event in ("subscribe", "unsubscribe", "subscribe", "unsubscribe", "unsubscribe"):
        await client.send(f"pusher:{event}", {"channel": "hasty"})
    await client.wait_for("pusher_internal:subscription_succeeded", count=2)
    await client.round_trip()
    witness = await clients.open(gateway)
    await witness.subscribe("hasty")
    await publisher.publish("hasty", {"n": 1})
    await witness.wait_for("test.event")  # or the gateway may take up the next subscribe before it
    await client.subscribe("hasty")
    await publisher.publish("hasty", {"n": 2})
    await client.wait_for("test.event")
    assert numbers(client, "hasty") == [2]
    assert client.of("pusher:error") == [], "to leave a channel that is not held is no error"


async def test_revocation_takes_the_channel_and_refuses_the_old_signature(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher, shared_redis_server: EmbeddedRedis
) -> None:
    loser, keeper = await clients.open(gateways[0]), await clients.open(gateways[1])
    for client in (loser, keeper):
        await client.subscribe("private-job.7")
    async with Redis.from_url(shared_redis_server.url) as redis:
        denial = denied_key(APP.id, "private-job.7", loser.socket_id)
        await redis.set(denial, "nonce")
        await publisher.command(Unsubscribe(loser.socket_id, "private-job.7"))
        assert (await loser.wait_for("pusher:subscription_error")).data["status"] == 403
        await publisher.publish("private-job.7", {"n": 1})
        await keeper.wait_for("test.event")
        await loser.round_trip()
        assert numbers(loser, "private-job.7") == []
        with pytest.raises(SubscribeRefused):
            await loser.subscribe("private-job.7")
        await redis.delete(denial)
        assert await loser.subscribe("private-job.7")


async def test_a_close_command_ends_that_connection_for_good(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher
) -> None:
    gone, stays = await clients.open(gateways[0]), await clients.open(gateways[0])
    await publisher.command(Close(gone.socket_id, 4009, "session revoked"))
    assert await gone.wait_closed() == 4009
    await stays.round_trip()


@pytest.mark.parametrize(
    ("code", "closed_with"), [(4200, 4200), (4100, 4100), (4009, 4009), (1000, 4009), (70_000, 4009)]
)
async def test_a_close_command_names_the_code(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher, code: int, closed_with: int
) -> None:
    gone = await clients.open(gateways[0])
    await publisher.command(Close(gone.socket_id, code, "as told"))
    assert await gone.wait_closed() == closed_with
    assert gone.of("pusher:error")[0].data == {"code": closed_with, "message": "as told"}


async def whispering(clients: Clients, gateways: list[GatewayNode], channel: str) -> tuple[PusherClient, PusherClient]:
    here, there = await clients.open(gateways[0]), await clients.open(gateways[1])
    for client in (here, there):
        await client.subscribe(channel)
    return here, there


@pytest.mark.parametrize("channel", ["public", "private-encrypted-a", "cache-a"])
async def test_client_events_are_refused_where_they_do_not_belong(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher, channel: str
) -> None:
    here, there = await whispering(clients, gateways, channel)
    await here.send("client-x", {"a": 1}, channel)
    assert (await here.wait_for("pusher:error")).data["code"] == 4301
    await heard_nothing_but_the_mark(publisher, there, channel)


@pytest.mark.parametrize("channel", ["private-outside", "presence-outside"])
async def test_client_events_need_a_subscription(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher, channel: str
) -> None:
    outsider, member = await clients.open(gateways[0]), await clients.open(gateways[1])
    await member.subscribe(channel, **({"user_id": "7"} if channel.startswith("presence-") else {}))
    await outsider.send("client-x", {}, channel)
    assert (await outsider.wait_for("pusher:error")).data["code"] == 4301
    await heard_nothing_but_the_mark(publisher, member, channel)


async def heard_nothing_but_the_mark(publisher: Publisher, client: PusherClient, channel: str) -> None:
    """What a sender got an error for would have left before the mark, the same way."""
    await publisher.publish(channel, {"n": "mark"})
    await client.wait_for("test.event", channel=channel)
    assert client.of("client-x") == []


@pytest.mark.parametrize("data", [{"a": [1, "é"]}, "text", 7, [1], True])
async def test_client_events_keep_the_type_of_their_data(
    gateways: list[GatewayNode], clients: Clients, data: Any
) -> None:
    here, there = await whispering(clients, gateways, "private-types")
    await here.send_text(
        json.dumps({"event": "client-x", "channel": "private-types", "data": data, "user_id": "forged"})
    )
    message = (await there.wait_for("client-x")).message
    assert message == {"event": "client-x", "channel": "private-types", "data": data}
    await here.round_trip()
    assert here.of("client-x") == []


async def test_client_events_without_data_carry_an_object(gateways: list[GatewayNode], clients: Clients) -> None:
    here, there = await whispering(clients, gateways, "private-nothing")
    await here.send_text('{"event":"client-x","channel":"private-nothing","data":null}')
    assert (await there.wait_for("client-x")).message["data"] == {}


async def test_client_events_over_the_rate_are_dropped_with_one_error_each(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher
) -> None:
    here, there = await whispering(clients, gateways, "private-rate")
    sent = 40  # a busy machine takes a while for them, in which ten more a second are let through
    for number in range(sent):
        await here.send("client-x", {"n": number}, "private-rate")
    await here.round_trip()
    errors = here.of("pusher:error")
    assert {error.data["code"] for error in errors} == {4301}
    delivered = sent - len(errors)
    assert 10 <= delivered < sent
    await there.wait_for("client-x", count=delivered)
    await publisher.publish("private-rate", {"n": "mark"})
    await there.wait_for("test.event")
    assert len(there.of("client-x")) == delivered, "what was told to be dropped was dropped"
    assert here.of("client-x") == []
    await here.round_trip()


async def test_too_large_client_events_are_refused(
    gateways: list[GatewayNode], clients: Clients, publisher: Publisher
) -> None:
    here, there = await whispering(clients, gateways, "private-size")
    fitting = "client-" + "x" * 193
    for name, size in (("client-fits", 10_238), ("client-large", 10_239), (fitting, 0), (fitting + "x", 0)):
        await here.send(name, "x" * size, "private-size")  # with its quotes, data has two bytes more
    await here.wait_for("pusher:error", count=2)
    assert {error.data["code"] for error in here.of("pusher:error")} == {4301}
    await there.wait_for(fitting)
    await publisher.publish("private-size", {"n": "mark"})
    await there.wait_for("test.event")
    heard = [frame.event for frame in there.frames if frame.event.startswith("client-")]
    assert heard == ["client-fits", fitting]
