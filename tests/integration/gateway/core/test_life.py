"""Liveness, slow readers, drain, and life without Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path

from redis.asyncio import Redis
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis
from websockets.asyncio.client import connect

from tests.support.gateway import (
    APP,
    Clients,
    PusherClient,
    gateway_node,
    open_pusher,
    running_gateways,
)
from tests.support.polling import eventually, eventually_sync, scaled
from tests.support.publishing import Publisher
from tests.support.raw_websocket import UPGRADE, stuck_reader
from tests.support.tcp_client import dialled
from tests.support.tcp_proxy import TcpProxy

QUICK = {"PING_INTERVAL_SECONDS": "0.5"}


def numbers(client: PusherClient) -> list[int]:
    return [frame.data["n"] for frame in client.of("test.event")]


def test_an_admin_port_leads_to_one_process_so_a_second_one_does_not_start(tmp_path: Path, redis_url: str) -> None:
    """A kernel that shared the port would show an operator, or Prometheus, the one process for the other."""
    admin = free_port()
    env = {"GATEWAY_ADMIN_PORT": str(admin)}
    with running_gateways(tmp_path, redis_url, count=1, env=env):
        second = gateway_node(tmp_path, "second", redis_url, env).service
        second.start(wait=False)
        eventually_sync(lambda: not second.is_running, 30)
        assert second.process.returncode == 2
        assert f"cannot listen on 127.0.0.1:{admin}: Address already in use. Set GATEWAY_ADMIN_HOST" in second.log_text


async def test_who_says_nothing_is_pinged_and_then_closed_with_4201(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1, env=QUICK) as (node,):
        async with dialled(node.port) as (reader, writer), asyncio.timeout(scaled(10)):
            writer.write(UPGRADE)
            received = await reader.readuntil((4201).to_bytes(2, "big"))
        assert b"pusher:ping" in received
        assert b'"code":4201' in received


async def test_who_only_answers_websocket_pings_or_only_receives_is_kept(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1, env=QUICK) as (node,):
        client = await open_pusher(node.port)
        await client.wait_for("pusher:ping", count=4, deadline=15)
        assert client.close_code is None
        await client.close()


async def test_a_connection_does_not_live_for_ever(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1, env=QUICK | {"CONNECTION_LIFETIME_SECONDS": "1"}) as (node,):
        client = await open_pusher(node.port)
        assert await client.wait_closed(10) == 4202


async def test_a_slow_reader_is_closed_alone_and_memory_stays_bounded(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1, env={"CLOSE_TIMEOUT_SECONDS": "1"}) as (node,):
        async with contextlib.AsyncExitStack() as people:
            publisher = Publisher(await people.enter_async_context(Redis.from_url(redis_url)))
            good = await open_pusher(node.port)
            people.push_async_callback(good.close)
            await good.subscribe("firehose")
            for _ in range(20):
                await people.enter_async_context(stuck_reader(node.port, "firehose"))

            async def subscribed() -> bool:
                return await node.metric("sharedjox_gateway_subscriptions") == 21

            await eventually(subscribed)
            before = await node.metric("process_resident_memory_bytes")
            for number in range(1200):
                await publisher.publish("firehose", {"n": number, "padding": "x" * 8000})
            await good.wait_for("test.event", count=1200, deadline=30)
            assert numbers(good) == list(range(1200))

            async def alone() -> bool:
                return await node.metric("sharedjox_gateway_connections") == 1

            await eventually(alone, 10, what="the stuck readers were closed")
            assert await node.metric("sharedjox_gateway_slow_closes_total") == 20
            assert await node.metric('sharedjox_gateway_connections_closed_total{code="4100"}') == 20
            assert await node.metric("process_resident_memory_bytes") - before < 64 * 1024 * 1024


async def test_who_has_much_to_recover_is_given_the_time_to_read_it(tmp_path: Path, redis_url: str) -> None:
    """More than a buffer holds: the next live event must not close everybody who comes back after a long break."""
    with running_gateways(tmp_path, redis_url, count=1) as (node,):
        async with Redis.from_url(redis_url) as redis:
            publisher = Publisher(redis)
            present = await open_pusher(node.port)
            position = (await present.subscribe("much"))["position"]
            for number in range(500):
                await publisher.publish("much", {"n": number, "padding": "x" * 16_000})
            back = await open_pusher(node.port)
            back.socket.transport.pause_reading()
            await back.send("pusher:subscribe", {"channel": "much", "recover": position})

            async def both_are_on() -> bool:
                return await node.metric("sharedjox_gateway_subscriptions") == 2

            await eventually(both_are_on)
            await publisher.publish("much", {"n": 500})
            await present.wait_for("test.event", count=501, deadline=20)
            back.socket.transport.resume_reading()
            await back.wait_for("test.event", count=501, deadline=20)
            assert numbers(back) == list(range(501))
            for client in (present, back):
                await client.close()


async def test_drain_sends_everybody_elsewhere_in_waves(tmp_path: Path, redis_url: str) -> None:
    settings = {"DRAIN_SECONDS": "2", "DRAIN_WAVE_SECONDS": "0.2"}
    with running_gateways(tmp_path, redis_url, count=2, env=settings) as (leaving, staying):
        clients = [await open_pusher(leaving.port) for _ in range(40)]
        loop = asyncio.get_running_loop()
        ends: list[float] = []

        async def end_of(client: PusherClient) -> None:
            assert await client.wait_closed(15) == 4200
            ends.append(loop.time())

        async with asyncio.TaskGroup() as waiting:
            for client in clients:
                waiting.create_task(end_of(client))
            leaving.service.process.send_signal(signal.SIGTERM)
        assert max(ends) - min(ends) > 1, "spread over the window"
        assert all(client.of("pusher:error")[0].data["code"] == 4200 for client in clients)
        await eventually(lambda: not leaving.service.is_running, 10, what="the drained process ended")
        assert leaving.service.process.returncode == 0
        other = await open_pusher(staying.port)
        await other.round_trip()
        await other.close()


async def test_a_second_signal_cuts_the_drain_short(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1, env={"DRAIN_SECONDS": "3600"}) as (node,):
        clients = [await open_pusher(node.port) for _ in range(3)]
        node.service.process.send_signal(signal.SIGTERM)
        await clients[0].wait_closed(5)
        node.service.process.send_signal(signal.SIGTERM)
        await eventually(lambda: not node.service.is_running, 10)


async def test_a_websocket_that_comes_during_the_drain_is_sent_elsewhere(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1, env={"DRAIN_SECONDS": "3600"}) as (node,):
        early = await open_pusher(node.port)
        second = await open_pusher(node.port)
        async with dialled(node.port) as (reader, writer):
            await second.round_trip()
            node.service.process.send_signal(signal.SIGTERM)
            await early.wait_closed(5)
            writer.write(UPGRADE)
            async with asyncio.timeout(scaled(5)):
                assert b'"code":4200' in await reader.readuntil((4200).to_bytes(2, "big"))
        node.service.kill()
        await second.wait_closed()


async def test_sockets_survive_a_redis_restart_and_see_no_hole(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url) as nodes:
        clients = Clients()
        seen = [await clients.open(node) for node in nodes]
        for client in seen:
            await client.subscribe("jobs.discovery")
        await publish(redis_server, 1)
        redis_server.stop()
        joiner = await clients.open(nodes[0])
        await joiner.send("pusher:subscribe", {"channel": "jobs.discovery"})
        await joiner.send("pusher:subscribe", {"channel": "opened.during.the.outage"})
        await joiner.round_trip()
        redis_server.start()
        await publish(redis_server, 2)
        for client in seen:
            await client.wait_for("test.event", count=2, deadline=15)
            assert numbers(client) == [1, 2]
            assert client.close_code is None
        await joiner.answer_to_subscribe("opened.during.the.outage")
        await clients.close()


async def test_clients_that_come_back_during_an_outage_recover_after_it(
    tmp_path: Path, redis_server: EmbeddedRedis
) -> None:
    """With a position of their own, or as stock clients whose position the gateway keeps."""
    channel, data = "private-outage", '{"client_id":"tab"}'
    with running_gateways(tmp_path, redis_server.url, count=1) as (node,):
        clients = Clients()
        stays = await clients.open(node)
        await stays.subscribe(channel)
        leaves = await clients.open(node)
        position = (await leaves.subscribe(channel, channel_data=data))["position"]
        await leaves.abort()
        async with Redis.from_url(redis_server.url) as redis:
            await Publisher(redis).publish(channel, {"n": 1})
        await stays.wait_for("test.event")
        redis_server.stop()
        back, stock = await clients.open(node), await clients.open(node)
        await back.send("pusher:subscribe", back.subscribe_data(channel) | {"recover": position})
        await stock.send("pusher:subscribe", stock.subscribe_data(channel, channel_data=data))
        for client in (back, stock):
            await client.round_trip()
        redis_server.start()
        for client in (back, stock):
            assert (await client.answer_to_subscribe(channel))["recovered"] is True
            await client.wait_for("test.event")
            assert numbers(client) == [1]
        await clients.close()


async def publish(server: EmbeddedRedis, number: int) -> None:
    async with Redis.from_url(server.url) as redis:
        await Publisher(redis).publish("jobs.discovery", {"n": number})


async def test_what_is_published_while_a_gateway_is_cut_off_is_caught_up(
    tmp_path: Path, redis_server: EmbeddedRedis, redis_proxy: TcpProxy
) -> None:
    node = gateway_node(tmp_path, "gateway", f"redis://127.0.0.1:{redis_proxy.port}/0")
    await asyncio.to_thread(node.service.start)  # the proxy runs on this loop
    try:
        client = await open_pusher(node.port)
        await client.subscribe("jobs.discovery")
        await publish(redis_server, 1)
        await client.wait_for("test.event")
        redis_proxy.refusing = True
        await redis_proxy.cut()
        for number in (2, 3, 4):
            await publish(redis_server, number)
        redis_proxy.refusing = False
        await client.wait_for("test.event", count=4, deadline=15)
        assert numbers(client) == [1, 2, 3, 4]
        await client.close()
    finally:
        await asyncio.to_thread(node.service.stop)


async def test_a_connection_to_redis_that_hangs_is_noticed_and_replaced(
    tmp_path: Path, redis_server: EmbeddedRedis, redis_proxy: TcpProxy
) -> None:
    node = gateway_node(tmp_path, "gateway", f"redis://127.0.0.1:{redis_proxy.port}/0", {"REDIS_PROBE_SECONDS": "0.5"})
    await asyncio.to_thread(node.service.start)
    try:
        client = await open_pusher(node.port)
        await client.subscribe("jobs.discovery")
        redis_proxy.half_open = True
        await publish(redis_server, 1)
        accepted = redis_proxy.accepted
        await eventually(lambda: redis_proxy.accepted > accepted, 10, what="the gateway tried anew")
        redis_proxy.half_open = False
        await redis_proxy.cut()
        await client.wait_for("test.event", deadline=15)
        assert numbers(client) == [1]
        await client.close()
    finally:
        await asyncio.to_thread(node.service.stop)


async def test_a_redis_that_comes_back_empty_is_told_to_every_subscriber(
    tmp_path: Path, redis_server: EmbeddedRedis
) -> None:
    with running_gateways(tmp_path, redis_server.url, count=1) as (node,):
        client = await open_pusher(node.port)
        position = (await client.subscribe("jobs.discovery"))["position"]
        await publish(redis_server, 1)
        await client.wait_for("test.event")
        redis_server.flush()
        redis_server.stop()
        redis_server.start()
        told = await client.wait_for("pusher_internal:subscription_succeeded", count=2, deadline=15)
        assert told.data["recovered"] is False
        assert told.data["position"]["epoch"] != position["epoch"]
        await publish(redis_server, 2)
        await client.wait_for("test.event", count=2)
        assert numbers(client) == [1, 2]
        await client.close()


async def test_a_stock_client_that_an_empty_redis_has_forgotten_is_told(
    tmp_path: Path, redis_server: EmbeddedRedis
) -> None:
    """Where it stood was only in Redis; it sends no position of its own. Nobody can tell it from a new one."""
    channel, data = "private-stock", '{"client_id":"tab-1"}'
    with running_gateways(tmp_path, redis_server.url, count=1) as (node,):
        first = await open_pusher(node.port)
        assert "recovered" not in await first.subscribe(channel, channel_data=data)
        await first.abort()
        redis_server.flush()
        redis_server.stop()
        redis_server.start()
        witness = await open_pusher(node.port)
        assert (await witness.subscribe(channel, channel_data=data))["recovered"] is False
        other = await open_pusher(node.port)
        assert "recovered" not in await other.subscribe(channel)
        for client in (witness, other):
            await client.close()


async def test_many_connections_come_and_go_without_a_trace(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1) as (node,):

        async def round_of(count: int) -> None:
            clients = [await open_pusher(node.port) for _ in range(count)]
            for number, client in enumerate(clients):
                await client.subscribe(f"private-own.{number}")
            for client in clients:
                await client.abort()

        for _ in range(3):
            await round_of(100)

        async def nothing_left() -> bool:
            names = ("connections", "subscriptions", "channels", "handshakes")
            return [await node.metric(f"sharedjox_gateway_{name}") for name in names] == [0, 0, 0, 0]

        await eventually(nothing_left, 30, what="no connection, subscription, channel or handshake is left")


async def test_pings_are_answered_before_anything_is_subscribed(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1) as (node,):
        async with connect(f"ws://127.0.0.1:{node.port}/app/{APP.key}?protocol=7", proxy=None) as socket:
            await socket.recv()
            await socket.send('{"event":"pusher:ping","data":{}}')
            assert json.loads(await socket.recv())["event"] == "pusher:pong"
