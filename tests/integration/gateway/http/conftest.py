"""Two gateways over one Redis, shared by a module, with several applications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from redis.asyncio import Redis
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, GatewayNode, TestApp, running_gateways
from tests.support.http_api import ApiConnection, open_connection

OTHER = TestApp(id="1002", key="other", secret="secret-of-the-other-app")
DISABLED = TestApp(id="1003", key="disabled", secret="secret-of-the-disabled-app")
STRICT = TestApp(id="1004", key="strict", secret="secret-of-the-strict-app")
"""Refuses replayed signatures."""
SLOW = TestApp(id="1005", key="slow", secret="secret-of-the-slow-app")
"""May send two requests a second."""
COUNTING = TestApp(id="1006", key="counting", secret="secret-of-the-counting-app")
"""Announces subscription counts."""
BRIEF = {"REQUEST_TIMEOUT_SECONDS": "1", "KEEP_ALIVE_SECONDS": "2", "HANDSHAKE_TIMEOUT_SECONDS": "1"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    shared_redis_server.flush()
    apps = [
        APP.config(),
        OTHER.config(),
        DISABLED.config(enabled=False),
        STRICT.config(refuse_replays=True),
        SLOW.config(limits={"api_requests_per_second": 2}),
        COUNTING.config(subscription_counts=True),
    ]
    folder = tmp_path_factory.mktemp("gateways")
    with running_gateways(folder, shared_redis_server.url, apps=apps, env=BRIEF) as started:
        yield started


@pytest.fixture
def node(nodes: list[GatewayNode]) -> GatewayNode:
    return nodes[0]


@pytest.fixture
async def redis(shared_redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = Redis.from_url(shared_redis_server.url)
    yield client
    await client.aclose()


Connect = Callable[[GatewayNode], Awaitable[ApiConnection]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens raw connections to a node; they are closed after the test."""
    opened: list[ApiConnection] = []

    async def open_one(node: GatewayNode) -> ApiConnection:
        opened.append(await open_connection(node))
        return opened[-1]

    yield open_one
    for connection in opened:
        await connection.close()
