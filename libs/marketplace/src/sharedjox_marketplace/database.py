"""Engines, and which database errors are worth another try."""

from __future__ import annotations

from typing import Any, Final

import asyncpg
from sharedjox_kit.postgres import LINK_SETTINGS
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

SERIALIZATION_FAILURE: Final = "40001"
DEADLOCK_DETECTED: Final = "40P01"
LOCK_NOT_AVAILABLE: Final = "55P03"

RETRYABLE: Final = frozenset({SERIALIZATION_FAILURE, DEADLOCK_DETECTED, LOCK_NOT_AVAILABLE})

_DRIVER: Final = "postgresql+asyncpg://"


def asyncpg_url(url: str) -> str:
    """Accept `postgres://` and `postgresql://` as hosting services print them. Raises: ValueError for others."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+asyncpg"):
        msg = "must be a Postgres URL, for example postgresql://user:password@host:5432/sharedjox"
        raise ValueError(msg)
    return _DRIVER + rest


def session_settings(*, statement_timeout_ms: int = 15_000, lock_timeout_ms: int = 8_000) -> dict[str, str]:
    """What every session asks of the server, by Postgres' names."""
    return LINK_SETTINGS | {
        "statement_timeout": str(statement_timeout_ms),
        "lock_timeout": str(lock_timeout_ms),
        "timezone": "UTC",
        # Compiling a plan costs more than any query of ours saves by it.
        "jit": "off",
        # Filters differ by orders of magnitude in what passes them; a plan for "some value" is the wrong one for nearly
        # every value (discovery: 600 ms instead of 6), and planning our statements takes 50 us.
        "plan_cache_mode": "force_custom_plan",
    }


def _nameless() -> str:
    """The name of every statement for a pooler that cannot keep names apart."""
    return ""


_WITHOUT_PREPARED: Final[dict[str, Any]] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": _nameless,
}
"""asyncpg then sends each statement together with its values, so that one server connection sees both."""


def create_engine(
    url: str,
    *,
    pool_size: int = 20,
    max_overflow: int = 20,
    pool_timeout_seconds: float = 10.0,
    statement_timeout_ms: int = 15_000,
    lock_timeout_ms: int = 8_000,
    application_name: str = "sharedjox",
    prepared_statements: bool = True,
) -> AsyncEngine:
    """An engine on `url`. Nothing connects before the first statement; the caller disposes of it.

    Time-outs are the server's: a statement that waits longer for a lock fails with a retryable error. A server that has
    gone silent keeps none of them: the client gives up after one and a half times the limit of a statement (0: never).
    Without `prepared_statements` nothing stays on the server between two statements, for poolers that mix clients.
    """
    engine = create_async_engine(
        asyncpg_url(url),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=pool_timeout_seconds,
        pool_recycle=1800,
        pool_use_lifo=True,
        # Errors go into logs with their statement; its values are addresses, hashes of passwords and what people write.
        hide_parameters=True,
        connect_args={
            "timeout": 5,
            "command_timeout": 1.5 * statement_timeout_ms / 1000 or None,
            "server_settings": session_settings(
                statement_timeout_ms=statement_timeout_ms, lock_timeout_ms=lock_timeout_ms
            )
            | {"application_name": application_name},
            **({} if prepared_statements else _WITHOUT_PREPARED),
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: Any, _record: object, _fairy: object) -> None:
    """Make the pool replace a connection that the server closed: asyncpg knows, and asking costs no round trip.

    SQLAlchemy would only find out by an error of its own, and statements that run on asyncpg itself give it none.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server closed this connection")


DATABASE_ERRORS: Final = (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What statements raise: through SQLAlchemy, or from asyncpg directly.

The last is what a connection answers that has read the server's farewell and not yet the end of the stream.
"""


def driver_error(error: BaseException) -> BaseException:
    """Asyncpg's own error, whatever it is wrapped in."""
    if not isinstance(error, DBAPIError):
        return error
    return getattr(error.orig, "__cause__", None) or error.orig or error


def sqlstate(error: BaseException) -> str | None:
    """The five characters that Postgres gives the error; None when it never got that far."""
    state = getattr(driver_error(error), "sqlstate", None)
    return state if isinstance(state, str) else None


def constraint_name(error: BaseException) -> str | None:
    """The violated constraint's name."""
    name = getattr(driver_error(error), "constraint_name", None)
    return name if isinstance(name, str) else None


def is_worth_another_try(error: BaseException) -> bool:
    """Whether the transaction lost a race (serialization, deadlock, lock time-out) and did nothing."""
    return sqlstate(error) in RETRYABLE


def is_database_away(error: BaseException) -> bool:
    """Whether the server could not be reached, is shutting down or cut the connection."""
    if not isinstance(error, DATABASE_ERRORS):
        return False
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = sqlstate(error)
    return state is None or state[:2] in ("08", "57") or state == "53300"
