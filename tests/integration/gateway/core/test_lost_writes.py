"""A Redis that comes back without its newest writes: whoever was promised them is told, however it was refilled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import Clients, GatewayNode, PusherClient, running_gateways
from tests.support.polling import eventually
from tests.support.publishing import Publisher
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

SUCCEEDED = "pusher_internal:subscription_succeeded"


class SnapshotRedis:
    """A Redis that keeps what it had at the last `snapshot`, and the way to it that can be closed."""

    def __init__(self, server: EmbeddedRedis, proxy: TcpProxy) -> None:
        self.server = server
        self.proxy = proxy

    def snapshot(self) -> None:
        """Keep what is there now."""
        assert self.server.run_command("SAVE").startswith("+OK")

    async def fall_back(self) -> None:
        """Die without a word and come back as of the snapshot, out of the gateways' reach."""
        self.proxy.refusing = True
        self.server.process.kill()
        await self.proxy.cut()
        self.server.start()

    def appear(self) -> None:
        """Let the gateways in again."""
        self.proxy.refusing = False


@pytest.fixture
async def redis_with_a_past(tmp_path: Path) -> AsyncIterator[SnapshotRedis]:
    server = EmbeddedRedis(tmp_path / "redis", free_port(), durable=False)
    server.start()
    async with tcp_proxy(server.port) as proxy:
        yield SnapshotRedis(server, proxy)
    server.stop()


@pytest.fixture
async def nodes(tmp_path: Path, redis_with_a_past: SnapshotRedis) -> AsyncIterator[list[GatewayNode]]:
    url = f"redis://127.0.0.1:{redis_with_a_past.proxy.port}/0"
    gateways = running_gateways(tmp_path, url, env={"DRAIN_SECONDS": "0.2"})
    yield await asyncio.to_thread(gateways.__enter__)  # in a thread, because the proxy runs on this loop
    await asyncio.to_thread(gateways.__exit__, None, None, None)


@pytest.fixture
async def direct(redis_with_a_past: SnapshotRedis) -> AsyncIterator[Publisher]:
    """A publisher that reaches Redis whatever the gateways reach."""
    redis = Redis.from_url(redis_with_a_past.server.url)
    yield Publisher(redis)
    await redis.aclose()


def acknowledgements(client: PusherClient) -> list[Any]:
    return [frame.data for frame in client.of(SUCCEEDED)]


async def seen_everywhere(clients: list[PusherClient], count: int) -> None:
    for client in clients:
        await client.wait_for("test.event", count=count)


async def test_offsets_that_others_took_meanwhile_are_not_taken_for_what_was_delivered(
    redis_with_a_past: SnapshotRedis, nodes: list[GatewayNode], clients: Clients, direct: Publisher
) -> None:
    present = [await clients.open(node) for node in nodes]
    epochs = [(await client.subscribe("feed"))["position"]["epoch"] for client in present]
    for number in range(1, 8):
        await direct.publish("feed", {"n": number})
    await seen_everywhere(present, 7)
    redis_with_a_past.snapshot()
    for number in (8, 9):
        await direct.publish("feed", {"n": number})
    await seen_everywhere(present, 9)
    await redis_with_a_past.fall_back()
    for number in (108, 109, 110):
        await direct.publish("feed", {"n": number})
    redis_with_a_past.appear()
    for client, epoch in zip(present, epochs, strict=True):
        await eventually(lambda client=client: len(acknowledgements(client)) > 1, what="told of the loss")
        told = acknowledgements(client)[-1]
        assert told["recovered"] is False
        assert told["position"]["epoch"] != epoch
    late = await clients.open(nodes[0])
    answer = await late.subscribe("feed", recover={"epoch": epochs[0], "offset": 9})
    assert answer["recovered"] is False
    await direct.publish("feed", {"n": 111})
    for client in (*present, late):
        await eventually(lambda client=client: client.of("test.event")[-1].data == {"n": 111})


async def test_a_restart_that_lost_nothing_is_no_news(
    redis_with_a_past: SnapshotRedis, nodes: list[GatewayNode], clients: Clients, direct: Publisher
) -> None:
    client = await clients.open(nodes[0])
    await client.subscribe("feed")
    for number in range(1, 4):
        await direct.publish("feed", {"n": number})
    await client.wait_for("test.event", count=3)
    redis_with_a_past.snapshot()
    await redis_with_a_past.fall_back()
    await direct.publish("feed", {"n": 4})
    redis_with_a_past.appear()
    await client.wait_for("test.event", count=4)
    assert [frame.data["n"] for frame in client.of("test.event")] == [1, 2, 3, 4]
    assert len(acknowledgements(client)) == 1
