"""The services of one machine: how each is started and how one sees that it is ready."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from typing import Final

GATEWAY_COUNT: Final = 2


class Kind(Enum):
    """What a service is; its value is the module that starts it."""

    API = "sharedjox_api.main"
    WORKER = "sharedjox_worker.main"
    GATEWAY = "sharedjox_gateway.main"


@dataclass(frozen=True, slots=True)
class ServicePorts:
    """Where the services of one machine listen. `gateway_admin` has one port per gateway process."""

    api: int
    gateway: int
    worker_metrics: int
    gateway_admin: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One process: `env` is what it needs beyond the settings that all share."""

    name: str
    kind: Kind
    env: dict[str, str]
    ready_port: int
    ready_path: str = "/readyz"

    @property
    def command(self) -> list[str]:
        """The command line, in this virtual environment."""
        arguments = ["serve"] if self.kind is Kind.API else []
        return [sys.executable, "-m", self.kind.value, *arguments]


def api_command(action: str) -> list[str]:
    """The command line of `sharedjox-api migrate` and the like."""
    return [sys.executable, "-m", Kind.API.value, action]


def service_specs(ports: ServicePorts) -> list[ServiceSpec]:
    """The api, the worker and the gateways, in the order in which they start."""
    specs = [
        ServiceSpec("api", Kind.API, {"API_PORT": str(ports.api)}, ports.api),
        ServiceSpec("worker", Kind.WORKER, {"WORKER_METRICS_PORT": str(ports.worker_metrics)}, ports.worker_metrics),
    ]
    for number, admin_port in enumerate(ports.gateway_admin, start=1):
        env = {"REVERB_PORT": str(ports.gateway), "GATEWAY_ADMIN_PORT": str(admin_port)}
        specs.append(ServiceSpec(f"gateway-{number}", Kind.GATEWAY, env, admin_port))
    return specs
