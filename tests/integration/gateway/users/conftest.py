"""Two gateways over one Redis, shared by a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, GatewayNode, TestApp, running_gateways
from tests.support.polling import scaled

STRICT = TestApp(id="1002", key="strict", secret="strict-secret-of-the-tests")
"""Connections have to authorize themselves; terminating reaches presence users too."""
CLOSED = TestApp(id="1003", key="closed", secret="closed-secret-of-the-tests")
"""No user authentication."""
STRICT_SECONDS = 1


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    shared_redis_server.flush()
    apps = [
        APP.config(),
        STRICT.config(authorized_connections_seconds=STRICT_SECONDS, terminate_by_presence_user=True),
        CLOSED.config(user_authentication=False),
    ]
    env = {"LEASE_HEARTBEAT_SECONDS": str(scaled(0.3)), "LEASE_SECONDS": str(scaled(1.2))}
    with running_gateways(tmp_path_factory.mktemp("gateways"), shared_redis_server.url, apps=apps, env=env) as started:
        yield started
