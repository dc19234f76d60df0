"""`sharedjox-api migrate`, `seed` and `create-operator`, as processes."""

from __future__ import annotations

import asyncio
import subprocess

import asyncpg
import pytest
from sharedjox_api.migrations import MigrationError, migrate, newest_revision

from tests.support.polling import scaled
from tests.support.processes import clean_environment, python_module, run_module

from .harness import make_settings, open_api

MODULE = "sharedjox_api.main"


async def _rows(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()


def _run(*arguments: str, env: dict[str, str], given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python_module(MODULE, *arguments),
        env=clean_environment(env),
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )


async def test_simultaneous_migrations_take_turns(empty_postgres_url: str) -> None:
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(migrate(empty_postgres_url)) for _ in range(4)]
    assert {run.result() for run in runs} == {newest_revision()}
    (version,) = await _rows(empty_postgres_url, "SELECT version_num FROM alembic_version")
    assert version["version_num"] == newest_revision()


def test_migrations_leave_no_drift(postgres_url: str) -> None:
    """The tables that the code describes are the tables that the migrations make."""
    done = subprocess.run(
        python_module("alembic", "-c", "services/api/alembic.ini", "check"),
        env=clean_environment({"DATABASE_URL": postgres_url}),
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_migrations_can_be_undone(postgres_url: str) -> None:
    for target in ("base", "head"):
        direction = "downgrade" if target == "base" else "upgrade"
        done = subprocess.run(
            python_module("alembic", "-c", "services/api/alembic.ini", direction, target),
            env=clean_environment({"DATABASE_URL": postgres_url}),
            capture_output=True,
            text=True,
            check=False,
            timeout=scaled(60),
        )
        assert done.returncode == 0, done.stdout + done.stderr


async def test_a_newer_database_is_refused_in_one_line(postgres_url: str) -> None:
    await _rows(postgres_url, "UPDATE alembic_version SET version_num = '9999'")
    done = _run("migrate", env={"DATABASE_URL": postgres_url})
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "9999" in line
    assert "newer version" in line


async def test_foreign_tables_are_refused_in_one_line(empty_postgres_url: str) -> None:
    await _rows(empty_postgres_url, "CREATE TABLE users (id int)")
    with pytest.raises(MigrationError, match="empty database"):
        await migrate(empty_postgres_url)


def test_no_server_is_refused_in_one_line() -> None:
    done = _run("migrate", env={"DATABASE_URL": "postgresql://app@127.0.0.1:1/x"})
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in done.stderr


async def test_seed_gives_the_promised_people_and_changes_nothing_the_second_time(
    postgres_url: str, redis_url: str
) -> None:
    env = {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}
    run_module(MODULE, "seed", env=env)
    tables = ("users", "jobs", "transactions", "ledger_entries", "notifications", "outbox_messages")
    before = {table: await _rows(postgres_url, f"SELECT * FROM {table} ORDER BY id") for table in tables}  # noqa: S608 - our tables
    assert "already" in run_module(MODULE, "seed", env=env)
    assert {table: await _rows(postgres_url, f"SELECT * FROM {table} ORDER BY id") for table in tables} == before  # noqa: S608 - our tables
    assert [row["status"] for row in before["jobs"]] == ["active", "claimed", "completed"]
    assert before["outbox_messages"] == []
    async with open_api(make_settings(postgres_url, redis_url)) as api:
        found = {}
        for role in ("operator", "client", "freelancer"):
            login = await api.http.post(
                "/api/auth/login", json={"email": f"{role}@sharedjox.test", "password": "password"}
            )
            assert login.status_code == 200, login.text
            headers = {"Authorization": f"Bearer {login.json()['accessToken']}"}
            wallet = (await api.http.get("/api/wallet", headers=headers)).json()
            found[role] = (login.json()["user"]["id"], wallet["balance"])
    assert found == {"operator": (1, 0), "client": (2, 1000), "freelancer": (3, 100)}


async def test_create_operator(postgres_url: str, redis_url: str) -> None:
    env = {"DATABASE_URL": postgres_url}
    arguments = ("create-operator", "--email", "Boss@Example.test", "--name", "Boss", "--password-stdin")
    assert _run(*arguments, env=env, given="short\n").returncode == 2
    assert _run(*arguments, env=env, given="long enough\n").returncode == 0
    again = _run(*arguments, env=env, given="long enough\n")
    assert (again.returncode, "account already" in again.stderr) == (2, True)
    async with open_api(make_settings(postgres_url, redis_url)) as api:
        login = await api.http.post("/api/auth/login", json={"email": "boss@example.test", "password": "long enough"})
        assert login.json()["user"]["role"] == "operator"
