"""What unmodified pusher-js does with our close codes: it stops for good, comes back after a second, or at once."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

from redis.asyncio import Redis
from sharedjox_contracts.control import Close

from tests.support.gateway import APP, TestApp, open_pusher, running_gateways
from tests.support.node_client import NodeClient, node_client
from tests.support.polling import eventually
from tests.support.publishing import Publisher
from tests.support.tcp_proxy import tcp_proxy

BACKOFF_MS = 1000
"""What pusher-js 8 waits after a connection that ended without `at once` in its code."""


async def test_a_full_node_is_tried_again_after_a_second_and_an_unknown_or_disabled_app_never(
    tmp_path: Path, redis_url: str
) -> None:
    apps = [APP.config(), TestApp("2", "closed", "s").config(enabled=False)]
    with running_gateways(tmp_path, redis_url, count=1, apps=apps, env={"MAX_CONNECTIONS": "1"}) as (node,):
        only_place = await open_pusher(node.port)
        stock = partial(
            node_client, node.port, library="pusher", options={"enabledTransports": ["ws"]}, connected=False
        )
        async with stock(key="nobody") as unknown, stock(key="closed") as disabled, stock() as waiting:
            await unknown.wait_state("disconnected")
            await disabled.wait_state("disconnected")
            await eventually(lambda: waiting.errors, 10, what="refused once")
            began = time.monotonic()
            await eventually(lambda: len(waiting.errors) >= 3, 10, what="refused three times")
            assert time.monotonic() - began > 1.5, "a second lies between its attempts"
            await only_place.close()
            await waiting.wait_state("connected")
            assert {error["code"] for error in waiting.errors} == {4100}
            # In the time of three attempts of the one that may come back, the others made no second one.
            assert [error["code"] for error in unknown.errors] == [4001]
            assert [error["code"] for error in disabled.errors] == [4003]
            assert unknown.states[-1] == disabled.states[-1] == "disconnected"


async def closed_with(publisher: Publisher, client: NodeClient, code: int) -> tuple[float, float]:
    """Close a connected client's connection and see it come back.

    Returns the milliseconds from the moment at which it saw the end to the new attempt, and to the new connection. Both
    are of the client's own clock: how long a busy machine takes to tell us does not count.
    """
    began, known = len(client.timeline), client.socket_id
    assert known is not None
    await publisher.command(Close(known, code, "as told"))
    await eventually(lambda: client.socket_id not in (None, known), 20, what=f"back after {code}; {client.timeline}")
    seen = client.timeline[began:]
    ended = next(at for what, at in seen if what == "error")
    return (
        next(at for what, at in seen if what == "connecting") - ended,
        next(at for what, at in seen if what == "connected") - ended,
    )


async def test_4200_brings_a_stock_client_back_at_once_4100_after_its_backoff_and_4009_never(
    tmp_path: Path, redis_url: str
) -> None:
    with running_gateways(tmp_path, redis_url, count=1) as (node,):
        stock = partial(node_client, node.port, library="pusher")
        async with Redis.from_url(redis_url) as redis, stock() as sent_on, stock() as held_off, stock() as banned:
            publisher = Publisher(redis)
            assert banned.socket_id is not None
            await publisher.command(Close(banned.socket_id, 4009, "as told"))
            for code in (4200, 4201, 4202):
                at_once = [await closed_with(publisher, sent_on, code) for _ in range(3)]
                # A busy machine can delay a client now and then, but it cannot make a second's backoff short.
                assert min(attempt for attempt, _ in at_once) < BACKOFF_MS / 2, (code, at_once)
                assert min(back for _, back in at_once) < BACKOFF_MS, (code, at_once)
            later = [await closed_with(publisher, held_off, 4100) for _ in range(2)]
            assert all(attempt > 0.95 * BACKOFF_MS for attempt, _ in later), later
            # While others came back, one of them twice from its backoff, this one made no attempt.
            await banned.wait_state("disconnected")
            assert banned.states[-2:] == ["connected", "disconnected"]
            assert {error["code"] for error in banned.errors} == {4009}


async def test_a_stock_client_of_a_draining_node_is_on_another_one_at_once(tmp_path: Path, redis_url: str) -> None:
    """One that met a closed port would wait for 15 s, whatever is behind the port after a moment (pusher-js#836)."""
    with running_gateways(tmp_path, redis_url, env={"DRAIN_SECONDS": "0.5"}) as (leaving, staying):
        async with tcp_proxy(leaving.port) as balancer, node_client(balancer.port, library="pusher") as client:
            first = client.socket_id
            balancer.target_port = staying.port
            stopping = asyncio.create_task(asyncio.to_thread(leaving.service.stop))
            await eventually(lambda: client.socket_id not in (None, first), 20, what=f"back; {client.timeline}")
            await stopping
            assert {error["code"] for error in client.errors} == {4200}
            ended = next(at for what, at in client.timeline if what == "error")
            back = next(at for what, at in client.timeline if what == "connected" and at > ended)
            assert back - ended < 15_000 / 4
            assert "unavailable" not in client.states
