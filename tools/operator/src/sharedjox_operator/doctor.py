"""`sharedjox doctor`: looks at every part of a deployment and says what is wrong with it, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sharedjox_kit.cluster_clients import ClusterClients
from sharedjox_kit.processes import SeenReport, read_reports
from sharedjox_kit.redis_cluster import SLOTS
from sharedjox_outbox.claims import RecordPool, read_lag
from sharedjox_outbox.postgres import is_poolers_doing, past_pooler

from .agreement import check_processes
from .findings import Finding, fail, ok, warn

_FULL: Final = 0.8
_LATE_SECONDS: Final = 30.0
_CHECK_SECONDS: Final = 10.0


async def examine(pool: RecordPool, redis: Redis, channels: ClusterClients | None = None) -> list[Finding]:
    """All findings, in the order in which they are best read. A part that is away is a finding, not an error."""
    try:
        seen = await asyncio.wait_for(read_reports(redis), _CHECK_SECONDS)
        about_redis = await asyncio.wait_for(_check_redis(redis), _CHECK_SECONDS)
    except (RedisError, OSError, TimeoutError) as error:
        seen, about_redis = [], [fail("redis", _reason(error), "is it running, and is REDIS_URL its address?")]
    about_postgres = await _of_postgres(_check_postgres(pool, seen))
    about_channels = await _check_cluster(channels) if channels is not None else []
    about_processes = check_processes(seen) if seen or _answers(about_redis) else []
    return [*about_postgres, *about_redis, *about_channels, *about_processes]


def _answers(findings: list[Finding]) -> bool:
    return any(one.what == "redis" and one.level.value != "FAIL" for one in findings)


async def _of_postgres(check: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await asyncio.wait_for(check, _CHECK_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        if is_poolers_doing(error):
            return [fail("postgres", _reason(error), past_pooler("workers, migrations and this command"))]
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
        else warn("postgres", room, "raise max_connections, lower DATABASE_POOL_SIZE, or put PgBouncer before the api")
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


async def _check_cluster(channels: ClusterClients) -> list[Finding]:
    """The Cluster of REDIS_CHANNELS_URL, and each of its masters like the one Redis."""
    try:
        known = await asyncio.wait_for(channels.refresh(), _CHECK_SECONDS)
    except (RedisError, OSError, TimeoutError) as error:
        return [fail("channels", _reason(error), "is it running, and does REDIS_CHANNELS_URL name its nodes?")]
    told = f"{len(known.masters)} masters, {len(known.replicas)} replicas, {known.slots} of {SLOTS} slots served"
    if known.slots < SLOTS or not known.is_whole:
        findings = [fail("channels", told, "valkey-cli --cluster check; channels of the other slots wait")]
    elif len(known.replicas) < len(known.masters):
        findings = [warn("channels", told, "give every master a replica: without one its channels wait for its return")]
    else:
        findings = [ok("channels", told)]
    for place in sorted(known.masters):
        name = f"channels {place[0]}:{place[1]}"
        try:
            findings += await asyncio.wait_for(_check_redis(channels.client(place), name), _CHECK_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            findings.append(fail(name, _reason(error), "its channels wait until it, or its replica, answers"))
    return findings


async def _check_redis(redis: Redis, what: str = "redis") -> list[Finding]:
    told = await redis.info()
    name = f"{told.get('server_name', 'redis')} {told.get('valkey_version') or told['redis_version']}"
    findings = [ok(what, f"{name}, up for {told['uptime_in_seconds']} s, {told['connected_clients']} clients")]
    if told.get("role") != "master":
        findings.append(fail(f"{what} role", str(told.get("role")), "connect to the node that takes writes"))
    policy = told.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        findings.append(fail(f"{what} eviction", policy, "maxmemory-policy noeviction: history and grants must not go"))
    else:
        findings.append(ok(f"{what} eviction", policy))
    if int(told.get("aof_enabled", 0)):
        findings.append(ok(f"{what} durability", "append-only file"))
    else:
        findings.append(warn(f"{what} durability", "no append-only file", "a restart empties history: appendonly yes"))
    used, most = int(told["used_memory"]), int(told.get("maxmemory", 0))
    memory = f"{used / 2**20:.0f} of {most / 2**20:.0f} MiB" if most else f"{used / 2**20:.0f} MiB, no maxmemory"
    full = most and used > _FULL * most
    findings.append(warn(f"{what} memory", memory, "raise maxmemory") if full else ok(f"{what} memory", memory))
    return findings
