"""Old code goes on on the new schema: migrations after the first only add, unless they are marked as contracting.

A migration that takes something away says so with `CONTRACT = "why nothing reads it any more"` at its top. A constraint
that old code cannot violate is named in `NEW_RULES`, with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.script import Script, ScriptDirectory
from sharedjox_api.migrations import alembic_config
from sharedjox_marketplace.database import create_engine
from sqlalchemy import Connection

from tests.support.databases import Databases

from .schema_changes import read_schema, what_old_code_misses

SCRIPTS = ScriptDirectory.from_config(alembic_config())
REVISIONS: list[Script] = list(SCRIPTS.walk_revisions())[::-1]
FIRST = REVISIONS[0].revision
# One row of each table, as the first release wrote them: only the columns that it knew.
FIRST_INSERTS = """
INSERT INTO users (email, name, role, password_hash, created_at) VALUES
    ($tag || 'c@example.com', 'C', 'client', 'x', now()), ($tag || 'f@example.com', 'F', 'freelancer', 'x', now());
INSERT INTO jobs (client_id, title, budget_min_cents, budget_max_cents, status, required_skills, estimated_duration,
                  created_at, updated_at)
    SELECT id, 'T', 1, 2, 'active', '{}', 3, now(), now() FROM users WHERE email = $tag || 'c@example.com';
UPDATE jobs SET status = 'claimed', agreed_cents = 2, claimed_at = now(), version = version + 1,
                claimed_by = (SELECT id FROM users WHERE email = $tag || 'f@example.com')
    WHERE status = 'active';
INSERT INTO ledger_accounts (kind, user_id) SELECT 'available', id FROM users WHERE email = $tag || 'f@example.com';
INSERT INTO transactions (user_id, type, status, amount_cents, created_at, confirmed_at)
    SELECT id, 'deposit', 'confirmed', 5, now(), now() FROM users WHERE email = $tag || 'f@example.com';
INSERT INTO ledger_transfers (transaction_id, created_at) SELECT max(id), now() FROM transactions;
INSERT INTO ledger_entries (transfer_id, account_id, amount_cents)
    SELECT (SELECT max(id) FROM ledger_transfers), account, amount
    FROM (VALUES (1, -5), ((SELECT max(id) FROM ledger_accounts), 5)) AS sides (account, amount);
INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at)
    SELECT gen_random_uuid(), max(id), now(), now(), now() FROM users;
INSERT INTO refresh_tokens (token_hash, session_id, created_at)
    SELECT sha256(id::text::bytea), id, now() FROM sessions ON CONFLICT DO NOTHING;
INSERT INTO notifications (user_id, type, title, body, job_id, created_at)
    SELECT claimed_by, 'job.claimed', 'T', 'B', id, now() FROM jobs WHERE claimed_by IS NOT NULL;
UPDATE notifications SET pushed_at = now() WHERE pushed_at IS NULL;
INSERT INTO push_subscriptions (user_id, endpoint, p256dh, auth, created_at)
    SELECT max(id), 'https://push.example/' || $tag, 'p', 'a', now() FROM users;
INSERT INTO idempotency_keys (scope, key_hash, fingerprint, created_at)
    VALUES ('user', sha256($tag::bytea), sha256($tag::bytea), now());
INSERT INTO audit_log (at, action, subject, facts) VALUES (now(), 'a', 's', '{}');
INSERT INTO outbox_messages (shard, event_id, channel, event_name, payload)
    VALUES (1, gen_random_uuid(), 'jobs.discovery', 'job.posted', '{}');
"""
BREAKS = {
    "a column is dropped": ("ALTER TABLE jobs DROP COLUMN deliverables", "jobs.deliverables is gone"),
    "a column is renamed": ("ALTER TABLE jobs RENAME COLUMN title TO heading", "jobs.title is gone"),
    "a table is dropped": ("DROP TABLE push_subscriptions", "push_subscriptions is gone"),
    "a table is renamed": ("ALTER TABLE audit_log RENAME TO audits", "audit_log is gone"),
    "a new column must be given": (
        "ALTER TABLE jobs ADD COLUMN region text NOT NULL",
        "jobs.region must be given by those who do not know it",
    ),
    "a column must be given now": (
        "ALTER TABLE sessions ALTER COLUMN address SET NOT NULL",
        "sessions.address was optional",
    ),
    "a default is gone": (
        "ALTER TABLE jobs ALTER COLUMN version DROP DEFAULT",
        "jobs.version lost its default",
    ),
    "a type changes": (
        "ALTER TABLE idempotency_keys ALTER COLUMN status TYPE text",
        "idempotency_keys.status was smallint and is text",
    ),
    "a text gets shorter": (
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(20)",
        "users.name was character varying(100) and is character varying(20)",
    ),
    "a check is added": (
        "ALTER TABLE jobs ADD CONSTRAINT ck_jobs_short CHECK (length(title) < 20)",
        "jobs has a new rule: ck_jobs_short CHECK ((length((title)::text) < 20))",
    ),
    "a unique index is added": (
        "CREATE UNIQUE INDEX uq_jobs_title ON jobs (title)",
        "jobs has a new rule: CREATE UNIQUE INDEX uq_jobs_title ON public.jobs USING btree (title)",
    ),
    "what ON CONFLICT names is gone": (
        "ALTER TABLE push_subscriptions DROP CONSTRAINT uq_push_subscriptions_endpoint",
        "push_subscriptions lost its unique index uq_push_subscriptions_endpoint",
    ),
    "a trigger is added": (
        "CREATE TRIGGER late BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()",
        "jobs has a new trigger: late",
    ),
}


async def upgrade(url: str, revision: str) -> None:
    """Run the migrations up to this one."""

    def run(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    engine = create_engine(url, pool_size=1, statement_timeout_ms=0)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()


@pytest.fixture(scope="module")
def first_schema_url(databases: Databases) -> Iterator[str]:
    """A database with the schema of the first release."""
    name, url = databases.create_empty()
    asyncio.run(upgrade(url, FIRST))
    yield url
    databases.drop(name)


@pytest.fixture
async def database(first_schema_url: str) -> AsyncIterator[Any]:
    """A connection to that database; what a test does is undone afterwards."""
    async with connected(first_schema_url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await transaction.rollback()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()


async def write_as_the_first_release(database: Any, tag: str) -> None:
    async with database.transaction():
        await database.execute(FIRST_INSERTS.replace("$tag", f"'{tag}'"))


async def test_every_migration_only_adds_and_the_first_release_goes_on_writing(empty_postgres_url: str) -> None:
    await upgrade(empty_postgres_url, FIRST)
    async with connected(empty_postgres_url) as connection:
        before = await read_schema(connection)
    contracted = False
    for script in REVISIONS[1:]:
        await upgrade(empty_postgres_url, script.revision)
        is_contract = hasattr(script.module, "CONTRACT")
        # From the first contract on, the first release may not run any more.
        contracted = contracted or is_contract
        async with connected(empty_postgres_url) as connection:
            after = await read_schema(connection)
            missed = what_old_code_misses(before, after, new_rules=getattr(script.module, "NEW_RULES", {}))
            assert is_contract or missed == [], f"{script.revision} takes something away: too early, or say CONTRACT"
            if not contracted:
                await write_as_the_first_release(connection, script.revision)
        before = after


async def test_the_first_release_writes_into_every_table_it_has(database: Any) -> None:
    await write_as_the_first_release(database, FIRST)
    for table in (await read_schema(database)).tables - {"alembic_version"}:
        assert await database.fetchval(f'SELECT EXISTS (SELECT FROM "{table}")'), table  # noqa: S608  # from the catalog


@pytest.mark.parametrize("name", BREAKS)
async def test_what_breaks_old_code_is_found(name: str, database: Any) -> None:
    statement, expected = BREAKS[name]
    before = await read_schema(database)
    assert what_old_code_misses(before, before) == []
    await database.execute(statement)
    assert expected in what_old_code_misses(before, await read_schema(database))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (id bigint PRIMARY KEY, job_id bigint NOT NULL REFERENCES jobs UNIQUE)",
        "ALTER TABLE jobs ADD COLUMN region text",
        "ALTER TABLE jobs ADD COLUMN region text NOT NULL DEFAULT ''",
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(400)",
        "ALTER TABLE users ALTER COLUMN name TYPE text",
        "CREATE INDEX ix_jobs_title ON jobs (title)",
        "DROP INDEX ix_jobs_search",
        "ALTER TABLE jobs DROP CONSTRAINT ck_jobs_duration",
    ],
)
async def test_what_old_code_does_not_notice_is_allowed(statement: str, database: Any) -> None:
    before = await read_schema(database)
    await database.execute(statement)
    assert what_old_code_misses(before, await read_schema(database)) == []
