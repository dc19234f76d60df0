"""Two gateways over one Redis, shared by a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, GatewayNode, TestApp, running_gateways

SMALL = TestApp(id="1002", key="small", secret="small-secret-of-the-tests")
"""An app with small limits."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    shared_redis_server.flush()
    apps = [APP.config(), SMALL.config(limits={"max_presence_members": 2, "max_presence_member_bytes": 20})]
    with running_gateways(tmp_path_factory.mktemp("gateways"), shared_redis_server.url, apps=apps) as started:
        yield started
