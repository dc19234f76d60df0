"""An api of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.databases import Databases
from tests.support.processes import ServiceProcess, python_module, run_module, running

from .harness import Api, make_settings, open_api
from .served import Served


@pytest.fixture(autouse=True)
def quiet_logs() -> Iterator[None]:
    """Plain lines for what matters: structlog's own default draws tracebacks for seconds."""
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(30),
        cache_logger_on_first_use=False,
    )
    yield
    structlog.configure(**before)


@pytest.fixture
async def api(postgres_url: str, redis_url: str) -> AsyncIterator[Api]:
    """The api on an empty, migrated database and an empty Redis."""
    async with open_api(make_settings(postgres_url, redis_url)) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(
    databases: Databases, shared_redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A seeded api in a process of its own, shared by the tests of one module."""
    name, database_url = databases.create_migrated()
    port = free_port()
    env = {"DATABASE_URL": database_url, "REDIS_URL": shared_redis_server.url, "API_PORT": str(port)}
    env |= {"PASSWORD_MEMORY_KIB": "64", "PASSWORD_TIME_COST": "1", "ACCESS_TOKEN_SECONDS": "3600"}
    run_module("sharedjox_api.main", "seed", env=env)
    log: Path = tmp_path_factory.mktemp("api") / "api.log"
    command = python_module("sharedjox_api.main", "serve")
    with running(ServiceProcess("api", command, log_file=log, env=env, ready_port=port)):
        yield Served(f"http://127.0.0.1:{port}")
    databases.drop(name)
