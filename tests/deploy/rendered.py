"""The deployment files as their own tools see them: compose's view of its file, kustomize's of an overlay."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings
from sharedjox_api.settings import ApiSettings
from sharedjox_gateway.settings import GatewaySettings
from sharedjox_worker.settings import WorkerSettings

from tests.support.processes import REPOSITORY

BIN = Path(sys.executable).parent
# The script that the package puts into bin loses the exit status.
COMPOSE = Path(str(files("compose"))) / "docker-compose"
KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
SETTINGS: dict[str, type[BaseSettings]] = {
    "sharedjox/api": ApiSettings,
    "sharedjox/worker": WorkerSettings,
    "sharedjox/ws-gateway": GatewaySettings,
}
"""Which class reads the environment of a container of this image."""
PRODUCTION_SECRETS = {
    "REVERB_APP_SECRET": "0" * 64,
    "JWT_SECRET": "1" * 64,
    "VAPID_PRIVATE_KEY": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
    "POSTGRES_PASSWORD": "2" * 64,
    "ALLOWED_ORIGINS": "https://app.example.com",
    "VAPID_SUBJECT": "mailto:ops@example.com",
}
"""What production compose does not start without."""

KUBERNETES_SECRET = {
    name: PRODUCTION_SECRETS[name] for name in ("REVERB_APP_SECRET", "JWT_SECRET", "VAPID_PRIVATE_KEY")
}
"""The secret `sharedjox` as overlays/production/kustomization.yaml asks for it."""
SECRET_URLS = {"DATABASE_URL": "postgresql://u:p@db:5432/x", "REDIS_URL": "redis://redis:6379/0"}
"""Stand-ins for what secret objects hold."""
POD_IP = "10.244.1.7"
"""Stands in for what the downward API gives."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of one of our images: its environment, as far as the files give the values."""

    name: str
    image: str
    environment: dict[str, str]


def compose(*paths: str, env: dict[str, str] | None = None, profiles: str = "*") -> dict[str, Any]:
    """`docker compose config` without an engine. Raises: CalledProcessError with what is wrong."""
    arguments = [argument for path in paths for argument in ("-f", path)]
    done = subprocess.run(
        [str(COMPOSE), *arguments, "config", "--no-path-resolution"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere", "COMPOSE_PROFILES": profiles} | (env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
    rendered: dict[str, Any] = yaml.safe_load(done.stdout)
    return rendered


def kustomize(overlay: str) -> list[dict[str, Any]]:
    """The manifests of an overlay."""
    done = subprocess.run(
        [str(BIN / "kubectl"), "kustomize", str(KUBERNETES / "overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """The manifests of one kind by name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pod_specs(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Pod specs of our own workloads, by workload name."""
    found = {}
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job"):
            found[manifest["metadata"]["name"]] = manifest["spec"]["template"]["spec"]
    return found


def compose_containers(rendered: dict[str, Any]) -> list[Container]:
    """Our containers in a compose file."""
    return [
        Container(name, service["image"].partition(":")[0], _texts(service.get("environment") or {}))
        for name, service in rendered["services"].items()
        if service["image"].startswith("sharedjox/")
    ]


def kubernetes_containers(manifests: list[dict[str, Any]]) -> list[Container]:
    """Our containers in an overlay, with what config maps give them; a secret's value is a stand-in."""
    config = {name: one.get("data", {}) for name, one in of_kind(manifests, "ConfigMap").items()}
    containers = []
    for name, spec in pod_specs(manifests).items():
        for container in spec["containers"]:
            environment: dict[str, str] = {}
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    environment |= config[source["configMapRef"]["name"]]
                elif source["secretRef"]["name"] == "sharedjox":
                    environment |= KUBERNETES_SECRET
            for variable in container.get("env", []):
                environment[variable["name"]] = _value(variable)
            containers.append(Container(name, container["image"].partition(":")[0], environment))
    return containers


def _value(variable: dict[str, Any]) -> str:
    if "value" in variable:
        value: str = variable["value"]
        return value
    source = variable["valueFrom"]
    return POD_IP if source.get("fieldRef") == {"fieldPath": "status.podIP"} else SECRET_URLS[variable["name"]]


def _texts(environment: dict[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in environment.items()}
