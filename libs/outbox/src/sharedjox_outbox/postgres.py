"""The relay's own connections to Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg
from sharedjox_kit.postgres import LINK_SETTINGS

from .claims import RecordPool

if TYPE_CHECKING:
    from asyncpg import Connection, Record


class PooledConnectionError(asyncpg.InterfaceError):
    """A connection pooler stands before Postgres, where a session of one's own is needed."""


_OF_POOLERS: Final = (
    PooledConnectionError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
)


async def require_own_session(connection: Connection[Record]) -> None:
    """Raises: PooledConnectionError when the session that answers is not the one that the connection was opened to."""
    if connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()"):
        msg = "another process of Postgres answers than the one that was connected to"
        raise PooledConnectionError(msg)


def is_poolers_doing(error: BaseException) -> bool:
    """Whether the error is that of a pooler in the way: found out here, refused by it, or a statement gone astray."""
    return isinstance(error, _OF_POOLERS) or "unsupported startup parameter" in str(error)


def past_pooler(who: str) -> str:
    """What to tell the operator when `is_poolers_doing`; `who` are those that cannot go through it."""
    return (
        f"DATABASE_URL leads through a connection pooler: {who} set things for their session and need the address of"
        " Postgres itself (docs/operations.md#pgbouncer)"
    )


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
    Acquiring raises PooledConnectionError when there is a pooler in between (see `is_poolers_doing`).
    """
    return await asyncpg.create_pool(
        asyncpg_address(database_url),
        min_size=0,
        max_size=size,
        command_timeout=command_seconds,
        init=require_own_session,
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
