"""Alerts and dashboard against a real Prometheus that scrapes the real platform."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import PusherClient, pusher_client
from tests.support.polling import eventually
from tests.support.stack import Stack

from .files import ALERTS_FILE, alerts, metric_names, panels, queries
from .prometheus import ask, running_prometheus, targets

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
JOB = {"title": "Measured", "budgetMin": 5, "budgetMax": 9, "requiredSkills": ["metrics"], "estimatedDuration": 30}


async def use(stack: Stack) -> None:
    """A little of everything that a demo does."""
    client, freelancer = await stack.log_in("client"), await stack.log_in("freelancer")
    async with (
        pusher_client(stack.ports.gateway) as listener,
        client.http() as hers,
        freelancer.http() as his,
    ):
        position = (await listener.subscribe("jobs.discovery"))["position"]
        job = (await hers.post("/api/jobs", json=JOB)).json()["id"]
        assert (await his.post(f"/api/jobs/{job}/claim", json={})).status_code == 200
        await listener.wait_for("job.posted")
        await recover(stack, position)


async def recover(stack: Stack, position: dict[str, Any]) -> None:
    async with pusher_client(stack.ports.gateway) as back:
        await back.subscribe("jobs.discovery", recover=position)


@pytest.fixture
async def listener(stack: Stack) -> AsyncIterator[PusherClient]:
    """Somebody who stays connected."""
    async with pusher_client(stack.ports.gateway) as client:
        await client.subscribe("jobs.discovery")
        yield client


@pytest.fixture(scope="module")
def prometheus_url(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_prometheus(stack, tmp_path_factory.mktemp("prometheus")) as url:
        yield url


async def exposed(stack: Stack) -> set[str]:
    """Every sample name that the running processes may expose, whether it has a value yet or not."""
    names: set[str] = set()
    async with httpx.AsyncClient() as http:
        for ports in targets(stack).values():
            for port in ports:
                for line in (await http.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines():
                    if line.startswith("# TYPE "):
                        _, _, name, kind = line.split()
                        names |= {name + suffix for suffix in SUFFIXES[kind]}
    return names


async def test_every_metric_that_is_watched_exists(stack: Stack) -> None:
    used = {name for alert in alerts() for name in metric_names(alert["expr"])}
    used |= {name for panel in panels() for query in queries(panel) for name in metric_names(query)}
    assert used - await exposed(stack) == set()


async def test_every_panel_has_data_after_a_demo_and_no_alert_is_raised(
    stack: Stack, prometheus_url: str, listener: PusherClient
) -> None:
    assert listener.socket_id

    async def empty_panels() -> list[str]:
        await use(stack)
        return [
            f"{panel['title']}: {query}"
            for panel in panels()
            for query in queries(panel)
            if not await ask(prometheus_url, query)
        ]

    await eventually(lambda: _is_empty(empty_panels), 60, what="every panel has data")
    assert await ask(prometheus_url, "ALERTS") == []


async def _is_empty(find: Any) -> bool:
    missing = await find()
    assert missing == []
    return True


def test_the_rules_file_is_where_compose_mounts_it() -> None:
    assert Path(ALERTS_FILE).name in (ALERTS_FILE.parent / "prometheus.yml").read_text(encoding="utf-8")
