"""Fixtures of every tier: embedded servers once per run, a clean database and Redis for each test that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.postgres import EmbeddedPostgres
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.databases import Databases
from tests.support.gateway import Clients
from tests.support.stack import Stack, running_stack
from tests.support.tcp_proxy import TcpProxy

# Examples are checked for what they show, not for how long they take: the first text on a new machine takes seconds.
settings.register_profile(
    "untimed",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def servers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this run's servers keep data and logs."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres_server(servers_dir: Path) -> Iterator[EmbeddedPostgres]:
    """One Postgres for the whole run."""
    server = EmbeddedPostgres(servers_dir / "postgres", free_port(), durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def databases(postgres_server: EmbeddedPostgres) -> Databases:
    """Makes databases on the run's server."""
    return Databases(postgres_server)


@pytest.fixture
def empty_postgres_url(databases: Databases) -> Iterator[str]:
    """SQLAlchemy URL of a database without tables."""
    name, url = databases.create_empty()
    yield url
    databases.drop(name)


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """SQLAlchemy URL (`postgresql+asyncpg://…`) of a database at the newest migration, without rows."""
    name, url = databases.create_migrated()
    yield url
    databases.drop(name)


@pytest.fixture(scope="session")
def shared_redis_server(servers_dir: Path) -> Iterator[EmbeddedRedis]:
    """One Redis for the whole run; use `redis_url`."""
    server = EmbeddedRedis(servers_dir / "redis", free_port(), durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(shared_redis_server: EmbeddedRedis) -> str:
    """URL of an empty Redis."""
    shared_redis_server.flush()
    return shared_redis_server.url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of this test's own, to stop, kill and start again; its data survives that."""
    server = EmbeddedRedis(tmp_path / "redis", free_port(), durable=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis_proxy(redis_server: EmbeddedRedis) -> AsyncIterator[TcpProxy]:
    """A misbehaving TCP proxy before `redis_server`."""
    proxy = TcpProxy(redis_server.port)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Opens connections to gateways; they are closed after the test."""
    opened = Clients()
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole platform, seeded, shared by the tests of one module: leave its services running."""
    with running_stack(tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """The whole platform, seeded, for one test that breaks it."""
    with running_stack(tmp_path) as started:
        yield started
