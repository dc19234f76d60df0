"""The arithmetic of the scale plan, worked out by hand beside it, and the page that shows its result."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from tests.benchmarks.scale_model import CONNECTIONS, Constants, Workload, full_at, line, order, plan, step, table
from tests.support.processes import REPOSITORY

COST = Constants(
    gateway_event_us=100,
    gateway_delivery_us=10,
    gateway_connect_us=200,
    gateway_connection_bytes=2500,
    redis_event_us=50,
    redis_subscriber_us=5,
    redis_connect_us=50,
    worker_event_us=200,
    postgres_event_us=100,
    api_request_us=1250,
)
LOAD = Workload(events=0.01, listeners=2, broadcasts=0.0001, audience=0.2, requests=0.02, connects=0.001)


def test_a_hundred_thousand_connections() -> None:
    found = step(100_000, COST, LOAD)
    # 1,000 events to 2 people, 10 broadcasts to 20,000.
    assert found.events_per_second == pytest.approx(1010)
    assert found.deliveries_per_second == pytest.approx(2000 + 200_000)
    assert found.gateways == 10
    # (1,000 x 2 + 10 x 10) x 100 us, 202,000 x 10 us, 100 connects x 200 us; over ten processes.
    assert found.gateway_core == pytest.approx((0.21 + 2.02 + 0.02) / 10)
    assert found.gateway_memory_gb == pytest.approx(0.25)
    # 1,010 x 50 us, 2,100 announcements x 5 us, 100 connects x 50 us.
    assert found.redis_cores == pytest.approx(0.0505 + 0.0105 + 0.005)
    assert found.workers == 2
    # 2,000 requests x 1,250 us at half a core each; Postgres works as long, and 1,010 x 100 us.
    assert found.api_pods == 5
    assert found.postgres_cores == pytest.approx(2.5 + 0.101)
    assert found.database_connections == 5 * 20 + 2 * 10
    assert found.storm_seconds == pytest.approx(10_000 * 200e-6)


def test_gateways_are_added_for_processor_time_too() -> None:
    found = step(100_000, replace(COST, gateway_delivery_us=50), LOAD)
    # 10.1 s of deliveries, 0.02 s of connects, 2,000 + 10 n events: at half a core each.
    assert found.gateways == 21
    assert found.gateway_core <= 0.5
    assert (10.1 + 0.02 + (2000 + 10 * 20) * 100e-6) / 20 > 0.5


def test_the_bottleneck_is_what_is_nearest_to_its_ceiling() -> None:
    found = step(1_000_000, replace(COST, redis_event_us=200), replace(LOAD, requests=0, broadcasts=0))
    assert found.redis_cores == pytest.approx(10_000 * 200e-6 + 20_000 * 5e-6 + 1000 * 50e-6)
    assert (found.bottleneck.part, round(found.bottleneck.share, 2)) == ("Redis", 4.3)


def test_broadcasts_that_fill_every_gateway_are_refused() -> None:
    with pytest.raises(ValueError, match="no number of them is enough"):
        step(1_000_000, COST, replace(LOAD, broadcasts=0.01))


def test_a_line_through_measured_points() -> None:
    assert line([(1, 12), (2, 14), (4, 18)]) == pytest.approx((10, 2))
    assert line([(1, 1), (2, 3)]) == (0, 2), "nothing costs less than nothing"


def test_where_a_part_is_full() -> None:
    # 20 requests and 1,250 us for a thousand connections: half of sixteen cores, less 1 ms of events, after 308.
    quiet = replace(LOAD, broadcasts=0)
    assert pytest.approx(307.7, abs=0.1) == 8 / (0.02 * 1000 * 1250e-6 + 0.01 * 1000 * 100e-6)
    assert full_at("Postgres", COST, quiet) == 308_000
    assert full_at("gateways", COST, quiet) == 1_001_000


def test_the_page_shows_what_follows_from_the_constants_it_shows() -> None:
    page = (REPOSITORY / "docs" / "scale.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\| `(\w+)` \| ([\d.,]+) \|", page, re.MULTILINE))
    assert set(shown) == {one.name for one in fields(Constants)}
    constants = Constants(**{name: float(value.replace(",", "")) for name, value in shown.items()})
    steps = plan(constants)
    assert [one.connections for one in steps] == list(CONNECTIONS)
    assert table(steps) in page
    assert order(constants) in page
