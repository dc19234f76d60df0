"""Two gateways over one Redis, shared by a module; a publisher beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import GatewayNode, running_gateways
from tests.support.publishing import Publisher


@pytest.fixture(scope="module")
def gateways(
    tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis
) -> Iterator[list[GatewayNode]]:
    shared_redis_server.flush()
    with running_gateways(tmp_path_factory.mktemp("gateways"), shared_redis_server.url) as nodes:
        yield nodes


@pytest.fixture
def gateway(gateways: list[GatewayNode]) -> GatewayNode:
    return gateways[0]


@pytest.fixture
async def publisher(shared_redis_server: EmbeddedRedis) -> AsyncIterator[Publisher]:
    redis = Redis.from_url(shared_redis_server.url)
    yield Publisher(redis)
    await redis.aclose()
