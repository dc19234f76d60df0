"""Channels on a Redis Cluster, by REDIS_CHANNELS_URL alone: slots move, a master restarts, a replica takes over."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from sharedjox_contracts.redis_layout import channel_slot

from tests.faults.audience import DISCOVERY, Audience, listener
from tests.faults.chaos_load import ChaosLoad
from tests.faults.recovering_client import living
from tests.support.polling import eventually, scaled
from tests.support.redis_cluster import RedisCluster, in_thread, running_cluster
from tests.support.stack import running_stack

CLIENTS = 30
APP_ID = "1001"


async def some_more(load: ChaosLoad) -> None:
    wanted = load.answered + 15
    await eventually(lambda: load.answered >= wanted, 60, what="the load goes on")


async def move_a_slot_there_and_back(cluster: RedisCluster) -> None:
    slot = channel_slot(APP_ID, DISCOVERY)
    home = cluster.owner(slot)
    away = next(node for node in cluster.masters if node is not home)
    for target in (away, home):
        await in_thread(cluster.move_slot, slot, target)


async def restart_a_master(cluster: RedisCluster) -> None:
    victim = cluster.masters[-1]  # it has no replica: nobody takes over
    await in_thread(victim.process.kill)
    await in_thread(victim.start)
    await in_thread(cluster.settle)


async def lose_a_master(cluster: RedisCluster) -> None:
    victim, heir = cluster.masters[0], cluster.replicas[0]
    await in_thread(victim.process.kill)
    await eventually(lambda: heir.ask("ROLE")[0] == "master", 60, what="the replica serves the slots")


async def test_a_cluster_in_trouble_loses_nothing_silently(tmp_path: Path) -> None:
    with (
        running_cluster(tmp_path / "cluster", replicas=1) as cluster,
        running_stack(tmp_path, extra_env={"REDIS_CHANNELS_URL": cluster.url, "REDIS_PROBE_SECONDS": "1"}) as stack,
    ):
        load = ChaosLoad(stack.ports.api, await stack.log_in("client"), await stack.log_in("freelancer"))
        clients = [
            listener(number, load, lambda: stack.ports.gateway, random.Random(number), silence_seconds=scaled(3))
            for number in range(CLIENTS)
        ]
        audience = Audience(stack.env["DATABASE_URL"], clients)
        async with living(clients):
            await audience.begin()
            working = load.tasks()
            for trouble in (move_a_slot_there_and_back, restart_a_master, lose_a_master):
                await some_more(load)
                await trouble(cluster)
                for client in clients[::2]:
                    client.cut()
            await some_more(load)
            load.is_over = True
            await asyncio.gather(*working)
            settled = await audience.settle(may_be_told=True)
        await load.close()
        logs = [node.run_command("DBSIZE") for node in (cluster.replicas[0], *cluster.masters[1:])]
        assert sum(int(size.strip(":\r\n")) for size in logs) > 0, "the channels were on the cluster"
    assert settled.problems + load.problems == []
    assert settled.verdict.events > 50
