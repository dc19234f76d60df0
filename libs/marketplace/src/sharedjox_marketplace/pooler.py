"""Whether a connection pooler stands before Postgres, and whether it keeps what our sessions rely on."""

from __future__ import annotations

from typing import Final

import asyncpg
from sharedjox_outbox.postgres import is_poolers_doing

from .database import DATABASE_ERRORS, create_engine, driver_error, session_settings, sqlstate
from .prepared import driver_of

_HELP: Final = "docs/operations.md#pgbouncer has the settings of PgBouncer"
_MIXES_STATEMENTS: Final = (
    "DATABASE_URL: the pooler before Postgres does not keep clients' prepared statements apart: take PgBouncer 1.21 or"
    f" newer with max_prepared_statements, or set DATABASE_PREPARED_STATEMENTS=false; {_HELP}"
)
_OF_ANOTHERS_STATEMENTS: Final = ("42P05", "26000")  # it exists already, it does not exist
_OF_THE_LINK: Final = "tcp_"
"""Settings that Postgres shows as 0 on a connection without TCP, as poolers beside it may have."""


async def pooler_faults(database_url: str, *, prepared_statements: bool) -> list[str]:
    """What is wrong with the pooler before this database, a line each; nothing when there is none, or all is well.

    A database that does not answer has no faults: whoever needs it will say so.
    """
    engine = create_engine(
        database_url,
        pool_size=1,
        max_overflow=0,
        application_name="sharedjox-api",
        prepared_statements=prepared_statements,
    )
    try:
        async with engine.connect() as connection:
            return await _faults(driver_of(connection), prepared_statements=prepared_statements)
    except (*DATABASE_ERRORS, OSError, TimeoutError) as error:
        if sqlstate(error) in _OF_ANOTHERS_STATEMENTS:
            return [_MIXES_STATEMENTS]
        if is_poolers_doing(cause := driver_error(error)):
            reason = str(cause).splitlines()[0]
            return [f"DATABASE_URL: the pooler before Postgres refuses the session ({reason}): {_HELP}"]
        return []
    finally:
        await engine.dispose()


async def _faults(driver: asyncpg.Connection[asyncpg.Record], *, prepared_statements: bool) -> list[str]:
    wanted = {name: value for name, value in session_settings().items() if not name.startswith(_OF_THE_LINK)}
    async with driver.transaction():
        if driver.get_server_pid() == await driver.fetchval("SELECT pg_backend_pid()"):
            return []
        found = {
            row["name"]: row["setting"]
            for row in await driver.fetch(
                "SELECT lower(name) AS name, setting FROM pg_settings WHERE lower(name) = ANY ($1)", list(wanted)
            )
        }
        names = await driver.fetch("SELECT name FROM pg_prepared_statements WHERE name LIKE $1", r"\_\_asyncpg\_%")
    faults = []
    if lost := sorted(name for name in wanted if found.get(name) != wanted[name]):
        shown = ", ".join(f"{name} is {found.get(name)!r} and should be {wanted[name]!r}" for name in lost)
        faults.append(f"DATABASE_URL: the pooler before Postgres loses settings of the session: {shown}; {_HELP}")
    if names and prepared_statements:
        faults.append(_MIXES_STATEMENTS)
    return faults
