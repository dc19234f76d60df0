"""A small run of what measures the constants of the scale plan, with real gateways, relays, Postgres and Redis."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import servers
from tests.benchmarks.scale import measure_busy_redis, measure_connects, measure_fanout, measure_relay


def test_each_kind_of_process_is_seen_to_work(tmp_path: Path) -> None:
    """With so much to do that each has used several of the 10 ms in which Linux counts its time."""
    with servers.redis_server(tmp_path) as redis:
        fanout = measure_fanout(tmp_path, redis, processes=2, connections=64, rate=200, seconds=0.5)
        busy = measure_busy_redis(tmp_path, redis, processes=1, seconds=0.5)
        connects = measure_connects(tmp_path, redis, 1000)
        relay = measure_relay(tmp_path, redis, workers=2, events=1000)
    assert (fanout["ok"], busy["ok"]) == (True, True)
    for measured in (fanout, busy, connects, relay):
        costs = {name: value for name, value in measured.items() if "_us" in name}
        assert costs
        assert min(costs.values()) > 0, measured
