"""`sharedjox doctor`: looks at every part of a deployment and says what is wrong with it, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sharedjox_kit.processes import SeenReport, read_reports
from sharedjox_outbox.claims import RecordPool, read_lag

from .agreement import check_processes
from .findings import Finding, fail, ok, warn

_FULL: Final = 0.8
_LATE_SECONDS: Final = 30.0
_CHECK_SECONDS: Final = 10.0


async def examine(pool: RecordPool, redis: Redis) -> list[Finding]:
    """All findings, in the order in which they are best read. A part that is away is a finding, not an error."""
    try:
        seen = await asyncio.wait_for(read_reports(redis), _CHECK_SECONDS)
        about_redis = await asyncio.wait_for(_check_redis(redis), _CHECK_SECONDS)
    except (RedisError, OSError, TimeoutError) as error:
        seen, about_redis = [], [fail("redis", _reason(error), "is it running, and is REDIS_URL its address?")]
    about_postgres = await _of_postgres(_check_postgres(pool, seen))
    about_processes = check_processes(seen) if seen or _answers(about_redis) else []
    return [*about_postgres, *about_redis, *about_processes]


def _answers(findings: list[Finding]) -> bool:
    return any(one.what == "redis" and one.level.value != "FAIL" for one in findings)


async def _of_postgres(check: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await asyncio.wait_for(check, _CHECK_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        return [fail("postgres", _reason(error), "is it running, and is DATABASE_URL its address?")]


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]


# --- Postgres ---------------------------------------------------------------------------------------------------------


async def _check_postgres(pool: RecordPool, seen: list[SeenReport]) -> list[Finding]:
    version = await pool.fetchval("SHOW server_version")
    used = await pool.fetchval("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    most = int(await pool.fetchval("SHOW max_connections"))
    room = f"{version}, {used} of {most} connections"
    findings = [
        ok("postgres", room)
        if used < _FULL * most
        else warn("postgres", room, "raise max_connections, lower DATABASE_POOL_SIZE, or put PgBouncer before it")
    ]
    schema = await _check_schema(pool, seen)
    findings.append(schema)
    if schema.level.value != "FAIL":
        findings += await _check_outbox(pool)
    return findings


async def _check_schema(pool: RecordPool, seen: list[SeenReport]) -> Finding:
    try:
        revision = await pool.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        revision = None
    if revision is None:
        return fail("schema", "the database is empty", "run the migration: sharedjox-api migrate")
    wanted = {one.report.settings["SCHEMA_REVISION"] for one in seen if "SCHEMA_REVISION" in one.report.settings}
    if not wanted:
        return warn("schema", f"at revision {revision}", "no api runs that would say which one it needs")
    if older := sorted(one for one in wanted if one > revision):
        return fail("schema", f"at revision {revision}, the api needs {older[-1]}", "migrate: sharedjox-api migrate")
    if wanted != {revision}:
        return warn(
            "schema", f"at revision {revision}, some api is of {min(wanted)}", "an upgrade is under way: finish it"
        )
    return ok("schema", f"at revision {revision}, as the api needs it")


async def _check_outbox(pool: RecordPool) -> list[Finding]:
    lag = await read_lag(pool)
    waiting = f"{lag.depth} events wait, the oldest for {lag.oldest_seconds:.1f} s"
    late = lag.oldest_seconds > _LATE_SECONDS
    return [
        fail("outbox", waiting, "see docs/operations.md#outboxstuck") if late else ok("outbox", waiting),
        warn("parked", f"{lag.parked} events", "sharedjox parked list") if lag.parked else ok("parked", "none"),
    ]


# --- Redis ------------------------------------------------------------------------------------------------------------


async def _check_redis(redis: Redis) -> list[Finding]:
    told = await redis.info()
    name = f"{told.get('server_name', 'redis')} {told.get('valkey_version') or told['redis_version']}"
    findings = [ok("redis", f"{name}, up for {told['uptime_in_seconds']} s, {told['connected_clients']} clients")]
    if told.get("role") != "master":
        findings.append(fail("redis role", str(told.get("role")), "REDIS_URL must lead to the node that takes writes"))
    policy = told.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        findings.append(fail("redis eviction", policy, "maxmemory-policy noeviction: history and grants must not go"))
    else:
        findings.append(ok("redis eviction", policy))
    if int(told.get("aof_enabled", 0)):
        findings.append(ok("redis durability", "append-only file"))
    else:
        findings.append(warn("redis durability", "no append-only file", "a restart empties history: appendonly yes"))
    used, most = int(told["used_memory"]), int(told.get("maxmemory", 0))
    memory = f"{used / 2**20:.0f} of {most / 2**20:.0f} MiB" if most else f"{used / 2**20:.0f} MiB, no maxmemory"
    full = most and used > _FULL * most
    findings.append(warn("redis memory", memory, "raise maxmemory") if full else ok("redis memory", memory))
    return findings
