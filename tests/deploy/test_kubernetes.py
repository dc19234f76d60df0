"""The overlays render, fit Kubernetes' schemas, and say what the code needs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from sharedjox_gateway.settings import GatewaySettings

from .rendered import BIN, KUBERNETES, OVERLAYS, kustomize, of_kind, pod_specs

RENDERED = {overlay: kustomize(overlay) for overlay in OVERLAYS}
CUSTOM = frozenset({"PodMonitor", "ServiceMonitor", "PrometheusRule"})
WORKLOADS = [(overlay, name) for overlay in OVERLAYS for name in pod_specs(RENDERED[overlay])]
SERVERS = [(overlay, name) for overlay, name in WORKLOADS if name in ("api", "worker", "gateway")]


def spec_of(overlay: str, name: str) -> dict[str, Any]:
    return pod_specs(RENDERED[overlay])[name]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_overlays_fit_the_schemas(overlay: str, version: str, tmp_path: Path) -> None:
    """Custom resources (monitors, rules) have no schema here; their content is checked elsewhere."""
    known = [one for one in RENDERED[overlay] if one["kind"] not in CUSTOM]
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(known), encoding="utf-8")
    done = subprocess.run(
        [str(BIN / "kubernetes-validate"), "--strict", "-k", version, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("overlay", "name"), WORKLOADS)
def test_pods_are_restricted(overlay: str, name: str) -> None:
    spec = spec_of(overlay, name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("overlay", "name"), SERVERS)
def test_servers_have_all_probes_and_a_budget(overlay: str, name: str) -> None:
    (container,) = spec_of(overlay, name)["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert name in of_kind(RENDERED[overlay], "PodDisruptionBudget")
    assert spec_of(overlay, name)["topologySpreadConstraints"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_grace_period_holds_the_whole_drain(overlay: str) -> None:
    spec = spec_of(overlay, "gateway")
    (container,) = spec["containers"]
    settings = {one["name"]: one.get("value") for one in container["env"]}
    defaults = GatewaySettings.model_fields
    drain = float(settings.get("DRAIN_SECONDS") or defaults["drain_seconds"].default)
    close = float(settings.get("CLOSE_TIMEOUT_SECONDS") or defaults["close_timeout_seconds"].default)
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    http_seconds, slack = 2, 5
    assert spec["terminationGracePeriodSeconds"] >= before + drain + close + http_seconds + slack


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_changed_setting_rolls_the_pods(overlay: str) -> None:
    (name,) = of_kind(RENDERED[overlay], "ConfigMap")
    assert name.startswith("sharedjox-")
    for workload in ("api", "worker", "gateway"):
        (container,) = spec_of(overlay, workload)["containers"]
        assert {"configMapRef": {"name": name}} in container["envFrom"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_not_named_is_denied(overlay: str) -> None:
    policies = of_kind(RENDERED[overlay], "NetworkPolicy")
    assert policies["deny-all"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    selected = policies["to-postgres"]["spec"]["podSelector"]["matchLabels"]
    with_database = {
        one["metadata"]["name"]
        for one in RENDERED[overlay]
        if one["kind"] in ("Deployment", "Job")
        and selected.items() <= one["spec"]["template"]["metadata"]["labels"].items()
    }
    assert with_database == {"api", "worker", "migrate"}  # not the gateway


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_gateways_reach_each_other_and_nobody_else_comes_that_way(overlay: str) -> None:
    (container,) = spec_of(overlay, "gateway")["containers"]
    given = {one["name"]: one.get("value") or one["valueFrom"] for one in container["env"]}
    port = int(given["GATEWAY_INTERNAL_PORT"])
    assert given["GATEWAY_INTERNAL_HOST"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert port in [one["containerPort"] for one in container["ports"]]
    gateways = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}
    policies = {name: one["spec"] for name, one in of_kind(RENDERED[overlay], "NetworkPolicy").items()}
    between = policies.pop("between-gateways")
    assert {"podSelector": between["podSelector"]} == gateways
    ports = [{"protocol": "TCP", "port": port}]
    assert between["ingress"] == [{"from": [gateways], "ports": ports}]
    assert between["egress"] == [{"to": [gateways], "ports": ports}]
    opened = [one["port"] for spec in policies.values() for rule in spec.get("ingress", []) for one in rule["ports"]]
    assert port not in opened


def test_production_takes_its_database_from_the_operators_secret() -> None:
    for workload in ("api", "worker", "migrate"):
        (container,) = spec_of("production", workload)["containers"]
        (database,) = [one for one in container["env"] if one["name"] == "DATABASE_URL"]
        assert database["valueFrom"]["secretKeyRef"] == {"name": "sharedjox-db-app", "key": "uri"}
    assert of_kind(RENDERED["production"], "Secret") == {}


def test_selectors_find_their_pods() -> None:
    for overlay in OVERLAYS:
        labels = [
            one["spec"]["template"]["metadata"]["labels"]
            for one in RENDERED[overlay]
            if one["kind"] in ("Deployment", "StatefulSet")
        ]
        for kind in ("Service", "PodDisruptionBudget", "ServiceMonitor", "PodMonitor"):
            for name, one in of_kind(RENDERED[overlay], kind).items():
                selector = one["spec"].get("selector")
                wanted = (selector or {}).get("matchLabels", selector)
                assert name == "nowhere" or any(wanted.items() <= found.items() for found in labels), (kind, name)


def test_monitors_name_ports_that_exist() -> None:
    manifests = RENDERED["production"]
    services = {port["name"] for one in of_kind(manifests, "Service").values() for port in one["spec"]["ports"]}
    containers = {
        port["name"]
        for spec in pod_specs(manifests).values()
        for one in spec["containers"]
        for port in one.get("ports", [])
    }
    service_monitors, pod_monitors = of_kind(manifests, "ServiceMonitor"), of_kind(manifests, "PodMonitor")
    assert service_monitors
    assert pod_monitors
    for one in service_monitors.values():
        assert {endpoint["port"] for endpoint in one["spec"]["endpoints"]} <= services
    for one in pod_monitors.values():
        assert {endpoint["port"] for endpoint in one["spec"]["podMetricsEndpoints"]} <= containers


def test_the_prometheus_rule_is_the_alert_file() -> None:
    alerts = yaml.safe_load((KUBERNETES.parent / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    rule = of_kind(RENDERED["production"], "PrometheusRule")["sharedjox"]
    assert rule["spec"] == alerts, "run: python deploy/kubernetes/export_alerts.py"
