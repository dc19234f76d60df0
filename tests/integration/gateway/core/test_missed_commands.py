"""Rights that are taken away while a gateway is cut off, or of which a restarted Redis knows nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.control import Close, TerminateUser, Unsubscribe
from sharedjox_contracts.redis_layout import (
    CONTROL_CHANNEL,
    HistoryLimits,
    granting_key,
    log_key,
    meta_key,
    watermark_key,
)
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, Clients, GatewayNode, PusherClient, running_gateways
from tests.support.polling import eventually
from tests.support.publishing import Publisher
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

RECONNECT = 4200


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    """Keeps what `SAVE` wrote."""
    redis = EmbeddedRedis(tmp_path / "redis", free_port(), durable=False)
    redis.start()
    yield redis
    redis.stop()


@pytest.fixture
async def proxy(server: EmbeddedRedis) -> AsyncIterator[TcpProxy]:
    async with tcp_proxy(server.port) as started:
        yield started


@pytest.fixture
async def node(tmp_path: Path, proxy: TcpProxy) -> AsyncIterator[GatewayNode]:
    gateways = running_gateways(
        tmp_path,
        f"redis://127.0.0.1:{proxy.port}/0",
        count=1,
        env={"DRAIN_SECONDS": "0.2", "DRAIN_WAVE_SECONDS": "0.1"},
    )
    (started,) = await asyncio.to_thread(gateways.__enter__)  # in a thread, because the proxy runs on this loop
    yield started
    await asyncio.to_thread(gateways.__exit__, None, None, None)


@pytest.fixture
async def redis(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    """Reaches Redis whatever the gateway reaches."""
    client = Redis.from_url(server.url)
    yield client
    await client.aclose()


@pytest.fixture
def worker(redis: Redis) -> Publisher:
    return Publisher(redis)


async def cut_off(proxy: TcpProxy) -> None:
    proxy.refusing = True
    await proxy.cut()


async def joined(clients: Clients, node: GatewayNode, *channels: str) -> PusherClient:
    client = await clients.open(node)
    for channel in channels:
        await client.subscribe(channel)
    return client


async def is_marked(redis: Redis) -> None:
    """Wait until a mark stands behind all that was joined so far."""

    async def marks() -> int:
        return sum([int(await redis.get(key) or 0) async for key in redis.scan_iter(watermark_key(APP.id, "*"))])

    before = await marks()

    async def one_more() -> bool:
        return await marks() > before + 1

    await eventually(one_more)


async def test_commands_that_came_while_a_gateway_was_cut_off_are_carried_out_on_its_return(
    node: GatewayNode, proxy: TcpProxy, clients: Clients, worker: Publisher
) -> None:
    loser = await joined(clients, node, "private-job.7", "private-user.1")
    closed = await joined(clients, node, "private-job.7")
    terminated = await joined(clients, node)
    await terminated.sign_in("u1")
    await cut_off(proxy)
    await worker.command(Unsubscribe(loser.socket_id, "private-job.7"))
    await worker.command(Close(closed.socket_id, 4009, "session revoked"))
    await worker.command(TerminateUser("u1"))
    proxy.refusing = False
    assert (await loser.wait_for("pusher:subscription_error")).channel == "private-job.7"
    assert await closed.wait_closed() == 4009
    assert await terminated.wait_closed() == 4009
    await worker.publish("private-job.7", {"n": 1})
    await worker.publish("private-user.1", {"n": 2})
    await loser.wait_for("test.event", channel="private-user.1")
    assert loser.of("test.event", "private-job.7") == []


async def test_who_holds_rights_is_authorized_anew_when_commands_may_have_been_missed(
    node: GatewayNode, proxy: TcpProxy, clients: Clients, redis: Redis
) -> None:
    worker = Publisher(redis, limits=HistoryLimits(length=2))
    await worker.command(Close("1.1", 4009, "somebody else"))
    private, onlooker = await joined(clients, node, "private-job.7"), await joined(clients, node, "public")
    late = await joined(clients, node)
    await cut_off(proxy)
    for number in range(4):
        await worker.command(Close(f"9.{number}", 4009, "somebody else"))
    proxy.refusing = False
    assert await private.wait_closed() == RECONNECT
    await late.send("pusher:subscribe", late.subscribe_data("private-job.7"))
    assert await late.wait_closed() == RECONNECT, "its signature may be one of those taken back"
    await onlooker.round_trip()
    assert await joined(clients, node, "private-job.7"), "who comes back is authorized anew"


async def test_a_command_history_that_redis_lost_counts_as_missed(
    node: GatewayNode, clients: Clients, redis: Redis, worker: Publisher
) -> None:
    await worker.command(Close("1.1", 4009, "somebody else"))
    private = await joined(clients, node, "private-job.7")
    await redis.delete(log_key(APP.id, CONTROL_CHANNEL), meta_key(APP.id, CONTROL_CHANNEL))
    await worker.command(Close("1.2", 4009, "somebody else"))
    assert await private.wait_closed() == RECONNECT


async def test_only_those_whose_grants_redis_forgot_are_authorized_anew(
    node: GatewayNode, proxy: TcpProxy, server: EmbeddedRedis, clients: Clients, redis: Redis
) -> None:
    await redis.set(granting_key(APP.id), 1)  # as the api does with each grant
    kept = await joined(clients, node, "private-job.7")
    onlooker = await joined(clients, node, "public")
    await is_marked(redis)
    assert server.run_command("SAVE").startswith("+OK")
    forgotten = await joined(clients, node, "private-job.7")
    await is_marked(redis)
    proxy.refusing = True
    server.process.kill()
    await proxy.cut()
    server.start()
    proxy.refusing = False
    assert await forgotten.wait_closed() == RECONNECT
    await kept.round_trip()
    await onlooker.send("pusher:subscribe", onlooker.subscribe_data("private-job.7"))
    assert await onlooker.wait_closed() == RECONNECT, "it may hold a signature whose grant is gone"
    assert kept.close_code is None


async def test_a_link_that_was_cut_is_no_reason_to_authorize_anybody_anew(
    node: GatewayNode, proxy: TcpProxy, clients: Clients, worker: Publisher
) -> None:
    private = await joined(clients, node, "private-job.7")
    await cut_off(proxy)
    proxy.refusing = False
    await worker.publish("private-job.7", {"n": 1})
    await private.wait_for("test.event")
    other = await joined(clients, node, "private-job.8")
    await private.round_trip()
    assert (private.close_code, other.close_code) == (None, None)
