"""Alerts and dashboard against a real Prometheus that scrapes the real platform."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sharedjox_devstack.ports import free_port

from tests.support.debian import find_program
from tests.support.gateway import PusherClient, pusher_client
from tests.support.polling import eventually
from tests.support.processes import ServiceProcess, running
from tests.support.stack import Stack

from .files import ALERTS_FILE, alerts, metric_names, panels, queries

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
JOB = {"title": "Measured", "budgetMin": 5, "budgetMax": 9, "requiredSkills": ["metrics"], "estimatedDuration": 30}


def targets(stack: Stack) -> dict[str, list[int]]:
    """Ports by job."""
    return {
        "api": [stack.ports.api],
        "worker": [stack.ports.worker_metrics],
        "gateway": list(stack.ports.gateway_admin),
    }


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
    """Prometheus with our rules, scraping the stack every second."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    program = find_program("prometheus", "prometheus")
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS_FILE)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            for job, ports in targets(stack).items()
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    service = ServiceProcess(
        "prometheus",
        [
            *(program.command, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"),
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log_file=folder / "prometheus.log",
        env=program.env,
        ready_port=port,
        ready_path="/-/ready",
    )
    with running(service):
        yield f"http://127.0.0.1:{port}"


async def ask(prometheus_url: str, expression: str) -> list[dict[str, Any]]:
    """The result of an instant query."""
    async with httpx.AsyncClient(base_url=prometheus_url) as http:
        answer = await http.get("/api/v1/query", params={"query": expression})
    assert answer.status_code == 200, answer.text
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    return result


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


async def test_a_killed_worker_and_gateway_raise_their_alerts(stack: Stack, prometheus_url: str) -> None:
    """Pending is enough here: that it leads to firing is promtool's to say (test_alert_rules)."""
    stack.worker.kill()
    stack.gateways[1].kill()
    try:
        raised = await eventually(
            lambda: _raised(prometheus_url, {"TargetDown", "NoWorker", "FewGateways"}), 30, what="alerts"
        )
    finally:
        stack.worker.start()
        stack.gateways[1].start()
    assert raised == {"TargetDown", "NoWorker", "FewGateways"}
    await eventually(lambda: _is_quiet(prometheus_url), 30, what="alerts are over")


async def _raised(prometheus_url: str, wanted: set[str]) -> set[str]:
    names = {one["metric"]["alertname"] for one in await ask(prometheus_url, "ALERTS")}
    assert wanted <= names, await ask(prometheus_url, "up")
    return names


async def _is_quiet(prometheus_url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return await ask(prometheus_url, "ALERTS") == []
    return False


def test_the_rules_file_is_where_compose_mounts_it() -> None:
    assert Path(ALERTS_FILE).name in (ALERTS_FILE.parent / "prometheus.yml").read_text(encoding="utf-8")
