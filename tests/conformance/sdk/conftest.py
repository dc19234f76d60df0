"""Two gateways over one Redis, shared by a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import Clients, GatewayNode, running_gateways


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    shared_redis_server.flush()
    with running_gateways(tmp_path_factory.mktemp("gateways"), shared_redis_server.url) as started:
        yield started


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    yield opened
    await opened.close()
