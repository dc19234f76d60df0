"""A platform behind the TLS balancer: api, worker, two gateways on ports of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateway import GatewayNode, gateway_node
from tests.support.haproxy import Balancer, make_certificate, running_balancer
from tests.support.processes import running
from tests.support.stack import Stack, running_stack

ORIGIN = "https://app.sharedjox.test"
CONNECTIONS_PER_ADDRESS = 40
REQUESTS_PER_ADDRESS = 300


@dataclass(frozen=True, slots=True)
class Site:
    """What stands behind one address."""

    stack: Stack
    gateways: list[GatewayNode]
    balancer: Balancer


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"), [sys.executable])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    settings = {
        "ALLOWED_ORIGINS": ORIGIN,
        "LOG_LEVEL": "DEBUG",
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT_ADDRESS_PER_MINUTE": str(REQUESTS_PER_ADDRESS),
    }
    with running_stack(folder, gateways=0, extra_env=settings) as stack:
        own = settings | {"MAX_CONNECTIONS_PER_ADDRESS": str(CONNECTIONS_PER_ADDRESS), "DRAIN_SECONDS": "1"}
        nodes = [gateway_node(folder, f"gateway-{number}", stack.redis.url, own) for number in (1, 2)]
        with (
            running(*(node.service for node in nodes)),
            running_balancer(
                folder,
                certificate,
                api=f"127.0.0.1:{stack.ports.api}",
                gateways=[f"127.0.0.1:{node.port}" for node in nodes],
            ) as balancer,
        ):
            yield Site(stack, nodes, balancer)
