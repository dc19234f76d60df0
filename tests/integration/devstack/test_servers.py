"""The embedded servers: real, clean for each test, with telling errors."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from sharedjox_devstack.errors import DevstackError
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.postgres import EmbeddedPostgres
from sharedjox_devstack.process import ManagedProcess, is_alive, tethered
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.databases import Databases
from tests.support.polling import eventually, eventually_sync


def plain(url: str) -> str:
    return url.replace("postgresql+asyncpg://", "postgresql://")


def test_taken_port_is_named_with_its_holder(postgres_server: EmbeddedPostgres, tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match=rf"port {postgres_server.port} for Postgres is taken by postgres .*pid"):
        EmbeddedPostgres(tmp_path / "other", postgres_server.port, durable=False).start()
    with pytest.raises(DevstackError, match=rf"port {postgres_server.port} for Redis is taken by postgres"):
        EmbeddedRedis(tmp_path / "redis", postgres_server.port, durable=False).start()


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("9\n", encoding="ascii")
    with pytest.raises(DevstackError, match=r"data of Postgres 9, the embedded server is \d+"):
        EmbeddedPostgres(data, free_port(), durable=False).start()


def test_foreign_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DevstackError, match="is not empty and no Postgres data folder"):
        EmbeddedPostgres(tmp_path, free_port(), durable=False).start()


async def test_databases_are_separate(databases: Databases) -> None:
    (name, url), (other_name, other_url) = databases.create_empty(), databases.create_empty()
    first, second = await asyncpg.connect(plain(url)), await asyncpg.connect(plain(other_url))
    await first.execute("create table only_here (id int)")
    assert await second.fetchval("select count(*) from pg_tables where tablename = 'only_here'") == 0
    await first.close()
    await second.close()
    databases.drop(name)
    databases.drop(other_name)


async def test_redis_is_empty_and_speaks_streams(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        assert await client.xadd("stream", {"a": "1"}, id="1-0") == b"1-0"


async def test_killed_redis_comes_back_with_its_data(redis_server: EmbeddedRedis) -> None:
    async with Redis.from_url(redis_server.url) as client:
        await client.set("kept", "yes")
    redis_server.process.kill()
    redis_server.start()
    async with Redis.from_url(redis_server.url) as client:
        assert await client.get("kept") == b"yes"


def test_killed_postgres_comes_back_with_its_data(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", free_port(), durable=True)
    server.start()
    server.run_sql("create table kept as select 1 as one")
    server.process.kill()
    server.start()
    assert server.run_sql("select one from kept") == "1"
    server.stop()


def test_server_of_a_dead_run_is_stopped_and_replaced(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path / "postgres", free_port(), durable=False)
    first.start()
    second = EmbeddedPostgres(tmp_path / "postgres", first.port, durable=False)
    assert second.stop_leftover() == first.process.pid
    eventually_sync(lambda: not first.process.is_running)
    second.start()
    assert second.is_ready()
    second.stop()


def test_lock_file_of_a_dead_server_is_forgotten(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", free_port(), durable=False)
    server.initialize()
    (server.data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n", encoding="ascii")
    server.start()
    assert server.is_ready()
    server.stop()


CHILD_OF_A_CHILD = """
import sys
from pathlib import Path
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.postgres import EmbeddedPostgres
from sharedjox_devstack.redis import EmbeddedRedis
folder = Path(sys.argv[1])
postgres = EmbeddedPostgres(folder / "postgres", free_port(), durable=False)
redis = EmbeddedRedis(folder / "redis", free_port(), durable=False)
servers = postgres, redis
for server in servers:
    server.start()
print(*(server.process.pid for server in servers), flush=True)
import time
time.sleep(600)
"""


async def test_servers_end_with_a_killed_parent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = ManagedProcess("parent", [sys.executable, "-c", CHILD_OF_A_CHILD, str(tmp_path)], output=log)
    parent.start()
    pids = await eventually(lambda: [int(word) for word in parent.log_text.split()], 20)
    assert len(pids) == 2
    os.kill(parent.pid, signal.SIGKILL)
    await eventually(lambda: not any(is_alive(pid) for pid in pids), 10)
    assert parent.returncode == -signal.SIGKILL


def test_deaf_child_is_forced_to_end(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    deaf += "; time.sleep(600)"
    child = ManagedProcess(
        "deaf",
        tethered([sys.executable, "-c", deaf], death_signal=signal.SIGKILL),
        output=tmp_path / "log",
        stop_seconds=0.2,
    )
    child.start()
    eventually_sync(lambda: "deaf" in child.log_text)
    assert child.stop() is True
    assert child.returncode == -signal.SIGKILL


def test_missing_program_is_named(tmp_path: Path) -> None:
    child = ManagedProcess("ghost", ["/nonexistent/ghost"], output=tmp_path / "log")
    with pytest.raises(DevstackError, match="cannot start ghost: /nonexistent/ghost: No such file"):
        child.start()
