"""Two gateways over one Redis, shared by a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import GatewayNode, running_gateways


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    shared_redis_server.flush()
    with running_gateways(tmp_path_factory.mktemp("gateways"), shared_redis_server.url) as started:
        yield started
