"""Every alert fires on the series that its fault makes, and on nothing else. Prometheus' own tool decides."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.debian import Program, find_program

from .files import ALERTS_FILE, DEPLOY, alerts, metric_names

GATEWAY = 'instance="g1", job="gateway"'
# Half an hour of a platform that does well; `a+bxn` is promtool's notation for n steps of b from a, a minute each.
HEALTHY = {
    'up{job="api", instance="a1"}': "1x30",
    'up{job="worker", instance="w1"}': "1x30",
    'up{job="gateway", instance="g1"}': "1x30",
    'up{job="gateway", instance="g2"}': "1x30",
    "sharedjox_outbox_oldest_pending_seconds": "0x30",
    "sharedjox_outbox_parked_rows": "0x30",
    'sharedjox_gateway_commit_to_socket_seconds_bucket{le="0.25"}': "0+600x30",
    'sharedjox_gateway_commit_to_socket_seconds_bucket{le="1.0"}': "0+600x30",
    'sharedjox_gateway_commit_to_socket_seconds_bucket{le="+Inf"}': "0+600x30",
    'sharedjox_gateway_recoveries_total{outcome="recovered"}': "0+600x30",
    'sharedjox_gateway_recoveries_total{outcome="lost"}': "0x30",
    "sharedjox_relay_history_repairs_total": "1x30",
    'process_start_time_seconds{job="worker"}': "-86400x30",
    'sharedjox_api_doorbell_rings_total{outcome="rung"}': "0+600x30",
    f"sharedjox_gateway_redis_connected{{{GATEWAY}}}": "1x30",
    f"sharedjox_gateway_connections{{{GATEWAY}}}": "5000x30",
    f"sharedjox_gateway_connection_limit{{{GATEWAY}}}": "20000x30",
    f"process_cpu_seconds_total{{{GATEWAY}}}": "0+30x30",
    f'sharedjox_gateway_connections_refused_total{{code="4001", {GATEWAY}}}': "0+600x30",
    f"sharedjox_gateway_slow_closes_total{{{GATEWAY}}}": "0+1x30",
    f"sharedjox_gateway_sent_away_total{{{GATEWAY}}}": "40x30",
    f"sharedjox_gateway_apps_file_refused{{{GATEWAY}}}": "0x30",
    'sharedjox_http_requests_total{status="200"}': "0+6000x30",
    'sharedjox_http_requests_total{status="404"}': "0+600x30",
    'sharedjox_http_request_seconds_bucket{route="/api/jobs", le="0.5"}': "0+6000x30",
    'sharedjox_http_request_seconds_bucket{route="/api/jobs", le="2.5"}': "0+6000x30",
    'sharedjox_http_request_seconds_bucket{route="/api/jobs", le="+Inf"}': "0+6000x30",
}
# What each fault changes, and the alerts that come of it.
FAULTS: dict[str, tuple[dict[str, str], set[str]]] = {
    "the relay is stuck": ({"sharedjox_outbox_oldest_pending_seconds": "0x10 0+60x20"}, {"OutboxStuck"}),
    "a poisoned row": ({"sharedjox_outbox_parked_rows": "0x10 1x20"}, {"OutboxParked"}),
    "events are late": (
        {'sharedjox_gateway_commit_to_socket_seconds_bucket{le="0.25"}': "0+300x30"},
        {"DeliverySlow"},
    ),
    "history is too short": (
        {'sharedjox_gateway_recoveries_total{outcome="lost"}': "0+600x30"},
        {"RecoveriesLost"},
    ),
    "Redis was restarted": ({"sharedjox_relay_history_repairs_total": "1x25 2x5"}, {"HistoryRepaired"}),
    "the api has no Redis": (
        {'sharedjox_api_doorbell_rings_total{outcome="failed"}': "0+60x30"},
        {"DoorbellFailing"},
    ),
    "a gateway lost Redis": (
        {f"sharedjox_gateway_redis_connected{{{GATEWAY}}}": "1x10 0x20"},
        {"GatewayWithoutRedis"},
    ),
    "a gateway is nearly full": ({f"sharedjox_gateway_connections{{{GATEWAY}}}": "17000x30"}, {"GatewayFull"}),
    "a gateway has no CPU left": ({f"process_cpu_seconds_total{{{GATEWAY}}}": "0+59x30"}, {"GatewaySaturated"}),
    "there is no room": (
        {f'sharedjox_gateway_connections_refused_total{{code="4100", {GATEWAY}}}': "0+600x30"},
        {"ConnectionsRefused"},
    ),
    "readers are slow": ({f"sharedjox_gateway_slow_closes_total{{{GATEWAY}}}": "0+60x30"}, {"SlowConsumers"}),
    "Redis forgot who may what": (
        {f"sharedjox_gateway_sent_away_total{{{GATEWAY}}}": "40x25 400x5"},
        {"SocketsSentAway"},
    ),
    "the list of applications has a mistake": (
        {f"sharedjox_gateway_apps_file_refused{{{GATEWAY}}}": "0x10 1x20"},
        {"AppsFileRefused"},
    ),
    "a gateway is gone": (
        {'up{job="gateway", instance="g2"}': "1x10 0x20"},
        {"TargetDown", "FewGateways"},
    ),
    "the worker is gone": ({'up{job="worker", instance="w1"}': "1x10 0x20"}, {"TargetDown", "NoWorker"}),
    "the api fails": ({'sharedjox_http_requests_total{status="500"}': "0+600x30"}, {"ApiErrors"}),
    "the api is slow": (
        {'sharedjox_http_request_seconds_bucket{route="/api/jobs", le="0.5"}': "0+3000x30"},
        {"ApiSlow"},
    ),
}


@pytest.fixture(scope="module")
def promtool() -> Program:
    return find_program("promtool", "prometheus")


def run(promtool: Program, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool.command, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def firing(series: dict[str, str], expected: set[str]) -> dict[str, Any]:
    """A promtool test: after half an hour of these series exactly the expected alerts fire."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "29m",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)],
            }
        ],
    }


@pytest.mark.parametrize("fault", ["nothing is wrong", *FAULTS])
def test_exactly_the_alerts_of_a_fault_fire(fault: str, promtool: Program, tmp_path: Path) -> None:
    changed, expected = FAULTS.get(fault, ({}, set()))
    file = tmp_path / "test.yml"
    content = {
        "rule_files": [str(ALERTS_FILE)],
        "evaluation_interval": "1m",
        "tests": [firing(HEALTHY | changed, expected)],
    }
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = run(promtool, "test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_provoked_by_some_fault() -> None:
    provoked = set().union(*(expected for _, expected in FAULTS.values()))
    assert {alert["alert"] for alert in alerts()} == provoked


@pytest.mark.parametrize("alert", alerts(), ids=lambda one: one["alert"])
def test_an_alert_is_quiet_on_figures_and_not_for_want_of_them(alert: dict[str, Any]) -> None:
    """Without series every alert is quiet; the healthy platform has one of each metric that the alert reads."""
    given = {re.split(r"[{ ]", series)[0] for series in HEALTHY}
    read = metric_names(alert["expr"]) | ({"up"} if re.search(r"\bup\{", alert["expr"]) else set())
    assert read
    assert read - given == set()


def test_every_alert_has_a_runbook() -> None:
    page = (DEPLOY.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    for alert in alerts():
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
        section = page.partition(f"\n### {alert['alert']}\n")[2].partition("\n### ")[0]
        assert "```sh\n" in section, f"{alert['alert']}: no first action as a command"


def test_prometheus_reads_its_configuration(promtool: Program) -> None:
    done = run(promtool, "check", "config", "prometheus.yml", cwd=ALERTS_FILE.parent)
    assert done.returncode == 0, done.stdout + done.stderr
