"""A real Prometheus that scrapes a real platform every second and evaluates our alert rules."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from sharedjox_devstack.ports import free_port

from tests.support.debian import find_program
from tests.support.processes import ServiceProcess, running
from tests.support.stack import Stack

from .files import ALERTS_FILE

HURRIED_WINDOW = "10s"
# A core is more than a process gets while other tests run beside it; a young worker counts as an old one.
HURRIED_BOUNDS = (
    (re.compile(r"\[\d+m\]"), f"[{HURRIED_WINDOW}]"),
    (re.compile(r"> 0\.85"), "> 0.1"),
    (re.compile(r"> 900"), "> 1"),
)


def targets(stack: Stack) -> dict[str, list[int]]:
    """Ports by job."""
    return {
        "api": [stack.ports.api],
        "worker": [stack.ports.worker_metrics],
        "gateway": list(stack.ports.gateway_admin),
    }


def hurried_rules(folder: Path) -> Path:
    """The alert rules for people without half an hour: windows of ten seconds and no `for`; written to `folder`.

    What an alert reads and compares is left as it is, but for the two bounds of `HURRIED_BOUNDS`.
    """
    document = yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))
    for group in document["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
            for pattern, replacement in HURRIED_BOUNDS:
                rule["expr"] = pattern.sub(replacement, rule["expr"])
    file = folder / "hurried.yml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


@contextlib.contextmanager
def running_prometheus(stack: Stack, folder: Path, rules: Path = ALERTS_FILE) -> Iterator[str]:
    """Its URL while it runs; data, configuration and log go to `folder`."""
    port = free_port()
    program = find_program("prometheus", "prometheus")
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
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


async def firing(prometheus_url: str) -> set[str]:
    """Names of the alerts that fire now."""
    return {one["metric"]["alertname"] for one in await ask(prometheus_url, 'ALERTS{alertstate="firing"}')}
