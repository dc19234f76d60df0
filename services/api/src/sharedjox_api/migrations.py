"""Bringing the database to the newest schema, safely when several start at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sharedjox_marketplace.database import create_engine, driver_error, sqlstate
from sharedjox_marketplace.prepared import driver_of
from sharedjox_outbox.postgres import PooledConnectionError, is_poolers_doing, past_pooler, require_own_session
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

import sharedjox_api

_LOCK_NUMBER: Final = 0x5B0001
LOCK_WAIT_SECONDS: Final = 120.0
STATEMENT_LOCK_TIMEOUT_MS: Final = 10_000
"""A migration that cannot get its table lock gives up rather than queue every other query behind it."""

_EXPLANATIONS: Final = {
    "42P07": "a table of that name exists already, made by something else: point DATABASE_URL at an empty database",
    "42710": "an object of that name exists already: point DATABASE_URL at an empty database",
    "42501": "the database user may not change the schema: grant it CREATE on the database, or use its owner",
    "55P03": "another session holds a lock on a table: stop the long transaction and migrate again",
    "28P01": "wrong password: check DATABASE_URL",
    "3D000": "the database does not exist: create it (createdb), or correct DATABASE_URL",
}


class MigrationError(RuntimeError):
    """The database cannot be brought to the newest schema; the message says what to do."""


def script_location() -> Path:
    """The folder of migrations: beside `src` in a checkout, inside the package in an installation."""
    package = Path(sharedjox_api.__file__).parent
    checkout = package.parents[1] / "migrations"
    return checkout if checkout.is_dir() else package / "migrations"


def alembic_config() -> Config:
    """Alembic's configuration without a file."""
    config = Config()
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    return config


def newest_revision() -> str:
    """The revision that this version of the code needs."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        msg = "the code has no migrations"
        raise MigrationError(msg)
    return head


async def migrate(database_url: str) -> str:
    """Run what is missing; returns the revision reached. Others who migrate meanwhile wait their turn.

    Raises: MigrationError with one line that says what to do.
    """
    engine = create_engine(
        database_url, pool_size=1, statement_timeout_ms=0, lock_timeout_ms=0, application_name="sharedjox-migrate"
    )
    try:
        async with engine.connect() as connection:
            await require_own_session(driver_of(connection))
            await _take_turn(connection)
            await connection.run_sync(_upgrade)
            await connection.commit()
    except CommandError as error:
        msg = f"{error}; the database comes from a newer version: deploy that version, or restore a backup"
        raise MigrationError(msg) from error
    except PooledConnectionError as error:
        raise MigrationError(past_pooler("migrations")) from error
    except DBAPIError as error:
        raise MigrationError(
            past_pooler("migrations") if is_poolers_doing(driver_error(error)) else _explain(error)
        ) from error
    except OSError as error:
        msg = f"no connection to Postgres ({error}): start it, or correct DATABASE_URL"
        raise MigrationError(msg) from error
    finally:
        await engine.dispose()
    return newest_revision()


async def _take_turn(connection: AsyncConnection) -> None:
    deadline = asyncio.get_running_loop().time() + LOCK_WAIT_SECONDS
    while True:
        # Tried and not waited for: a waiting statement would hold a snapshot open for the one who migrates.
        got: bool = (
            await connection.execute(text("SELECT pg_try_advisory_lock(:number)"), {"number": _LOCK_NUMBER})
        ).scalar_one()
        await connection.commit()
        if got:
            return
        if asyncio.get_running_loop().time() > deadline:
            msg = f"another migration has been running for {LOCK_WAIT_SECONDS:.0f} s: wait for it, or end its session"
            raise MigrationError(msg)
        await asyncio.sleep(0.1)


def _upgrade(connection: Connection) -> None:
    connection.execute(text(f"SET lock_timeout = {STATEMENT_LOCK_TIMEOUT_MS:d}"))
    connection.commit()
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _explain(error: DBAPIError) -> str:
    cause: Any = error.orig
    reason = str(cause).splitlines()[0].rpartition(">: ")[2]
    hint = _EXPLANATIONS.get(sqlstate(error) or "", "check DATABASE_URL and the server's log")
    return f"{reason}; {hint}"
