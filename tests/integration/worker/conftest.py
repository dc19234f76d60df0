"""A worker process on a migrated database, and what its tests do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sharedjox_devstack.ports import free_port
from sharedjox_kit.redis import create_redis
from sharedjox_outbox.claims import RecordPool
from sharedjox_outbox.postgres import create_relay_pool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.support.processes import ServiceProcess, python_module

StartWorker = Callable[..., ServiceProcess]


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on the migrated database."""
    made = create_async_engine(postgres_url)
    yield made
    await made.dispose()


@pytest.fixture
async def outbox_pool(postgres_url: str) -> AsyncIterator[RecordPool]:
    """The relay's kind of connections, for looking at the outbox."""
    pool = await create_relay_pool(postgres_url)
    yield pool
    await pool.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the run's Redis."""
    client = create_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def start_worker(postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts worker processes, ready when it returns; ends them all afterwards."""
    started: list[ServiceProcess] = []

    def start(*, wait: bool = True, **settings: str) -> ServiceProcess:
        port = free_port()
        name = f"worker-{len(started) + 1}"
        environment = {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url, "WORKER_METRICS_PORT": str(port)}
        worker = ServiceProcess(
            name,
            python_module("sharedjox_worker.main"),
            log_file=tmp_path / f"{name}.log",
            env=environment | settings,
            ready_port=port,
        )
        started.append(worker)
        worker.start(wait=wait)
        return worker

    yield start
    for worker in started:
        worker.process.request_stop()
    for worker in started:
        assert not worker.process.finish_stop(), f"{worker.name} had to be killed:\n{worker.log_text[-4000:]}"
