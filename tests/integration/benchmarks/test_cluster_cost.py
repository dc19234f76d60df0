"""A small run of what compares one Redis with a Cluster: it has listeners, and they hear everything."""

from __future__ import annotations

import gc
from pathlib import Path

from tests.benchmarks import servers
from tests.benchmarks.cluster_cost import measure_cluster, measure_one


async def test_every_event_is_heard_on_one_redis_and_on_a_cluster(tmp_path: Path) -> None:
    with servers.redis_server(tmp_path) as redis:
        alone = await measure_one(redis, events=1000, listeners=2)
        shared = await measure_cluster(tmp_path / "cluster", redis, events=1000, listeners=2)
    gc.collect()  # a connection that nobody holds warns now, and a warning is an error
    for measured in (alone, shared):
        assert min(measured.values()) > 0, measured
    assert alone["busiest_share"] == 1
    assert 1 / 3 <= shared["busiest_share"] < 1
