"""Channels on a Redis Cluster, by REDIS_CHANNELS_URL alone: slots move, a master restarts, a replica takes over."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sharedjox_contracts.redis_layout import channel_slot

from tests.faults.audience import DISCOVERY
from tests.faults.trouble import assert_nothing_is_lost_silently
from tests.support.polling import eventually
from tests.support.redis_cluster import RedisCluster, in_thread, running_cluster
from tests.support.stack import running_stack

APP_ID = "1001"


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
        troubles = (move_a_slot_there_and_back, restart_a_master, lose_a_master)
        await assert_nothing_is_lost_silently(stack, [partial(trouble, cluster) for trouble in troubles])
        logs = [node.run_command("DBSIZE") for node in (cluster.replicas[0], *cluster.masters[1:])]
        assert sum(int(size.strip(":\r\n")) for size in logs) > 0, "the channels were on the cluster"
