"""The relay's own connections to Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
from sharedjox_kit.postgres import LINK_SETTINGS

from .claims import RecordPool

if TYPE_CHECKING:
    from asyncpg import Connection, Record


async def _keep_session(_connection: Connection[Record]) -> None:
    """Nothing to undo on release: the relay sets nothing outside its transactions. Saves a round trip per claim."""


def asyncpg_address(database_url: str) -> str:
    """`postgresql+asyncpg://…` (SQLAlchemy's form) as asyncpg takes it; other addresses as they are."""
    return database_url.replace("postgresql+asyncpg://", "postgresql://", 1)


async def create_relay_pool(
    database_url: str, *, size: int = 4, command_seconds: float = 15.0, durable: bool = False
) -> RecordPool:
    """Connections whose commits do not wait for the disk, unless `durable`; opened when first needed.

    A mark that a crash of Postgres takes back is a row that gets published again, and the repeat changes nothing.
    """
    return await asyncpg.create_pool(
        asyncpg_address(database_url),
        min_size=0,
        max_size=size,
        command_timeout=command_seconds,
        reset=_keep_session,
        server_settings=LINK_SETTINGS
        | {
            "application_name": "sharedjox-relay" if not durable else "sharedjox-operator",
            "synchronous_commit": "on" if durable else "off",
            "jit": "off",
            # Each of the relay's statements has one right plan, its index in order. With statistics from before a
            # backlog came or went, the planner would collect and sort the whole backlog instead.
            "enable_bitmapscan": "off",
            "enable_seqscan": "off",
        },
    )
