"""Alembic's entry: runs on the connection that `sharedjox-api migrate` opened, or on one of its own for the CLI."""

from __future__ import annotations

import asyncio

from alembic import context
from sharedjox_api.settings import ApiSettings
from sharedjox_marketplace import tables
from sharedjox_marketplace.database import create_engine
from sharedjox_outbox import schema as outbox
from sqlalchemy import Connection, MetaData

METADATA: list[MetaData] = [tables.metadata, outbox.metadata]


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _from_command_line() -> None:
    engine = create_engine(ApiSettings().database_url, pool_size=1, statement_timeout_ms=0)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is None:
    asyncio.run(_from_command_line())
else:
    _migrate(given)
