"""Presence when gateways die, hang, or lose Redis: rosters end right everywhere, and nobody is announced twice.

`believed_members` fails as soon as a client hears of somebody twice, or of the going of somebody who was not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sharedjox_contracts.lease_layout import LEASES_KEY
from sharedjox_contracts.presence_layout import members_key
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, Clients, GatewayNode, PusherClient, gateway_node, running_gateways
from tests.support.polling import TIME_UNIT_SECONDS, eventually, never, scaled
from tests.support.presence import all_believe, announcements, believed_members

CHANNEL = "presence-room"
QUICK = {"LEASE_HEARTBEAT_SECONDS": str(scaled(0.3)), "LEASE_SECONDS": str(scaled(1.2)), "PROBE_SECONDS": "0.5"}
"""For tests of what happens, not of how soon: the same behaviour, sooner."""


@pytest.fixture
def cluster(tmp_path: Path, redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    with running_gateways(tmp_path, redis_server.url, count=3, env=QUICK) as nodes:
        yield nodes


async def join(clients: Clients, node: GatewayNode, *user_ids: str) -> list[PusherClient]:
    """One connection for each user, in this order, all on the channel; ten at a time."""
    joined: list[PusherClient] = []

    async def one(user_id: str) -> PusherClient:
        client = await clients.open(node)
        await client.subscribe(CHANNEL, user_id=user_id)
        return client

    for start in range(0, len(user_ids), 10):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(user_id)) for user_id in user_ids[start : start + 10]]
        joined += [task.result() for task in tasks]
    return joined


def roster(*user_ids: str) -> dict[str, None]:
    return dict.fromkeys(user_ids)


async def test_a_killed_node_with_200_members_is_cleaned_up_within_15_seconds_and_once(
    tmp_path: Path, redis_server: EmbeddedRedis, clients: Clients
) -> None:
    """200 members on the node that dies, 200 elsewhere, 50 of them the same users; the leases of production."""
    apps = [APP.config(limits={"max_presence_members": 1000})]
    with running_gateways(tmp_path, redis_server.url, count=3, apps=apps) as (doomed, second, third):
        dying = [f"dying-{number}" for number in range(150)]
        both = [f"both-{number}" for number in range(50)]
        living = [f"living-{number}" for number in range(150)]
        survivors = [
            *await join(clients, second, *both, *living[:75]),
            *await join(clients, third, *living[75:]),
        ]
        doomed_clients = await join(clients, doomed, *dying, *both)
        everybody = roster(*dying, *both, *living)
        await all_believe([*survivors, *doomed_clients], CHANNEL, everybody, 20)

        doomed.kill()
        killed_at = time.monotonic()
        await all_believe(survivors, CHANNEL, roster(*both, *living), 15 / TIME_UNIT_SECONDS)
        assert time.monotonic() - killed_at <= 15
        for client in survivors:
            gone = {user: times for (kind, user), times in announcements(client, CHANNEL).items() if kind == "removed"}
            assert gone == dict.fromkeys(dying, 1)

        latecomers = await join(clients, second, "late") + await join(clients, third, *dying[:1])
        expected = roster(*both, *living, "late", dying[0])
        await all_believe([*survivors, *latecomers], CHANNEL, expected)
        await clients.close()


async def test_members_who_come_back_elsewhere_before_the_clean_up_never_went(
    cluster: list[GatewayNode], clients: Clients
) -> None:
    doomed, second, third = cluster
    (watcher,) = await join(clients, third, "watcher")
    await join(clients, doomed, "stays", "goes")
    await all_believe([watcher], CHANNEL, roster("watcher", "stays", "goes"))
    doomed.kill()
    await join(clients, second, "stays")
    await all_believe([watcher], CHANNEL, roster("watcher", "stays"), 10)
    assert announcements(watcher, CHANNEL) == {("added", "stays"): 1, ("added", "goes"): 1, ("removed", "goes"): 1}


async def test_leaving_while_the_node_is_swept_is_announced_once(
    cluster: list[GatewayNode], clients: Clients, redis_server: EmbeddedRedis
) -> None:
    """Members on the dead node and on a living one who leave at the very moment of the sweep."""
    doomed, second, third = cluster
    users = [f"u{number}" for number in range(40)]
    (watcher,) = await join(clients, third, "watcher")
    leaving = await join(clients, second, *users)
    await join(clients, doomed, *users)
    doomed.kill()
    while len(announcements(watcher, CHANNEL)) < 2 * len(users):
        # One leaves every few milliseconds, all through the time in which the sweep happens.
        if leaving:
            await leaving.pop().unsubscribe(CHANNEL)
        await watcher.round_trip()
        expired = redis_server.run_command(f"ZCARD {LEASES_KEY}").strip()
        if expired == ":2" and not leaving:
            break
    await all_believe([watcher], CHANNEL, roster("watcher"), 10)
    assert set(announcements(watcher, CHANNEL).values()) == {1}


async def test_a_node_that_hung_longer_than_its_lease_brings_its_members_back(
    cluster: list[GatewayNode], clients: Clients
) -> None:
    hanging, second, third = cluster
    (watcher,) = await join(clients, second, "watcher")
    (other,) = await join(clients, third, "both")
    frozen = await join(clients, hanging, "frozen", "both")
    everybody = roster("watcher", "frozen", "both")
    await all_believe([watcher, other, *frozen], CHANNEL, everybody)
    hanging.service.freeze()
    try:
        await all_believe([watcher, other], CHANNEL, roster("watcher", "both"), 10)
        (newcomer,) = await join(clients, second, "new")
    finally:
        hanging.service.thaw()
    await all_believe([watcher, other, newcomer, *frozen], CHANNEL, everybody | roster("new"), 10)
    assert announcements(watcher, CHANNEL)["removed", "frozen"] == 1
    assert announcements(watcher, CHANNEL)["added", "frozen"] == 2
    assert announcements(frozen[1], CHANNEL) == {("added", "new"): 1}, "its own people never went, for them"
    assert "lease.lost" in hanging.service.log_text
    await frozen[0].unsubscribe(CHANNEL)
    await all_believe([watcher], CHANNEL, roster("watcher", "both", "new"))


async def test_a_redis_that_comes_back_empty_gets_all_members_again_and_nobody_notices(
    cluster: list[GatewayNode], clients: Clients, redis_server: EmbeddedRedis
) -> None:
    members = [client for number, node in enumerate(cluster) for client in await join(clients, node, f"m{number}")]
    everybody = roster("m0", "m1", "m2")
    await all_believe(members, CHANNEL, everybody)
    redis_server.process.kill()
    for file in redis_server.data_dir.rglob("*.*"):
        file.unlink()
    redis_server.start()
    members += await join(clients, cluster[0], "new")
    await all_believe(members, CHANNEL, everybody | roster("new"), 15)
    await eventually(
        lambda: redis_server.run_command(f"HLEN {members_key(APP.id, CHANNEL)}").strip() == ":5", what="all are stored"
    )
    await never(
        lambda: any(("removed", user) in announcements(client, CHANNEL) for client in members for user in everybody),
        during=2.5,
        what="somebody was said to have gone",
    )
    assert announcements(members[0], CHANNEL)["added", "new"] == 1
    await members[1].close()
    await all_believe([members[0], members[2]], CHANNEL, roster("m0", "m2", "new"))


async def test_who_leaves_or_dies_while_redis_is_away_is_gone_when_it_is_back(
    cluster: list[GatewayNode], clients: Clients, redis_server: EmbeddedRedis
) -> None:
    (watcher,) = await join(clients, cluster[0], "watcher")
    (leaver,) = await join(clients, cluster[1], "leaver")
    await join(clients, cluster[2], "dead")
    await all_believe([watcher], CHANNEL, roster("watcher", "leaver", "dead"))
    redis_server.process.kill()
    await leaver.unsubscribe(CHANNEL)
    await leaver.round_trip()
    cluster[2].kill()
    waiting = await clients.open(cluster[1])
    await waiting.send("pusher:subscribe", waiting.subscribe_data(CHANNEL, user_id="waiting"))
    await waiting.round_trip()
    redis_server.start()
    assert (await waiting.answer_to_subscribe(CHANNEL))["presence"]["count"] >= 2
    await all_believe([watcher, waiting], CHANNEL, roster("watcher", "waiting"), 15)
    assert announcements(watcher, CHANNEL) == {
        ("added", "leaver"): 1,
        ("added", "dead"): 1,
        ("removed", "leaver"): 1,
        ("removed", "dead"): 1,
        ("added", "waiting"): 1,
    }


async def test_whoever_left_is_gone_even_if_the_channel_was_closed_here_before_redis_came_back(
    cluster: list[GatewayNode], clients: Clients, redis_server: EmbeddedRedis
) -> None:
    node = cluster[0]
    (leaver,) = await join(clients, node, "leaver")
    waiting = await clients.open(node)
    redis_server.process.kill()
    await leaver.unsubscribe(CHANNEL)
    await waiting.send("pusher:subscribe", waiting.subscribe_data("presence-other", user_id="waiting"))
    await waiting.round_trip()

    async def is_closed() -> bool:
        return await node.metric("sharedjox_gateway_channels") == 1

    await eventually(is_closed, 20, what="only the awaited channel is left")
    redis_server.start()
    await waiting.answer_to_subscribe("presence-other")
    await eventually(
        lambda: redis_server.run_command(f"EXISTS {members_key(APP.id, CHANNEL)}").strip() == ":0", 10, what="gone"
    )
    (latecomer,) = await join(clients, cluster[1], "latecomer")
    assert believed_members(latecomer, CHANNEL) == roster("latecomer")


async def test_scripts_that_redis_refuses_are_made_good_when_it_takes_them_again(
    cluster: list[GatewayNode], clients: Clients, redis_server: EmbeddedRedis
) -> None:
    (watcher,) = await join(clients, cluster[0], "watcher")
    (leaver,) = await join(clients, cluster[1], "leaver")
    redis_server.run_command("SCRIPT FLUSH")
    redis_server.run_command("CONFIG SET maxmemory 1")
    await leaver.unsubscribe(CHANNEL)
    joiner = await clients.open(cluster[2])
    await joiner.send("pusher:subscribe", joiner.subscribe_data(CHANNEL, user_id="joiner"))
    await joiner.round_trip()
    assert not joiner.of("pusher_internal:subscription_succeeded")
    redis_server.run_command("CONFIG SET maxmemory 0")
    await all_believe([watcher, joiner], CHANNEL, roster("watcher", "joiner"), 20)


async def test_members_of_a_node_that_nobody_knows_are_removed(
    cluster: list[GatewayNode], clients: Clients, redis_server: EmbeddedRedis
) -> None:
    """Whatever led to it: without a lease nobody is a member for long."""
    await join(clients, cluster[0], "watcher")
    key = members_key(APP.id, CHANNEL)
    assert redis_server.run_command(f'HSET {key} ghost ",nobody,\\nnull"').startswith(":1")
    (latecomer,) = await join(clients, cluster[1], "latecomer")
    assert "ghost" in believed_members(latecomer, CHANNEL)
    await all_believe([latecomer], CHANNEL, roster("watcher", "latecomer"), 10)


async def test_a_restarted_only_node_cleans_up_behind_itself(
    tmp_path: Path, redis_server: EmbeddedRedis, clients: Clients
) -> None:
    node = gateway_node(tmp_path, "gateway", redis_server.url, QUICK)
    with contextlib.ExitStack() as cleanup:
        node.service.start()
        cleanup.callback(node.service.stop)
        await join(clients, node, "before")
        node.kill()
        node.service.start()
        (after,) = await join(clients, node, "after")
        await all_believe([after], CHANNEL, roster("after"), 10)
        await clients.close()


async def test_a_node_that_stops_in_good_order_takes_its_members_along_at_once(
    tmp_path: Path, redis_server: EmbeddedRedis, clients: Clients
) -> None:
    with running_gateways(tmp_path, redis_server.url) as (stopping, staying):
        (watcher,) = await join(clients, staying, "watcher")
        await join(clients, stopping, *(f"m{number}" for number in range(20)))
        await all_believe([watcher], CHANNEL, roster("watcher", *(f"m{number}" for number in range(20))))
        await asyncio.to_thread(stopping.service.stop)
        await all_believe([watcher], CHANNEL, roster("watcher"), 2)
        assert redis_server.run_command(f"ZCARD {LEASES_KEY}").strip() == ":1"
        await clients.close()
