"""Statements of hot paths: built and compiled by SQLAlchemy once, run by asyncpg.

SQLAlchemy's execution costs about 250 us of Python for a statement that Postgres answers in 60 (2026-11); a claim runs
eleven. Here it does what it is best at, once: writing correct SQL from the tables' own definitions.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # untyped there


def driver_of(connection: AsyncConnection) -> asyncpg.Connection[asyncpg.Record]:
    """The asyncpg connection under an open SQLAlchemy connection; it stays SQLAlchemy's."""
    opened = connection.sync_connection
    if opened is None:
        msg = "the connection is not open"
        raise RuntimeError(msg)
    driver: asyncpg.Connection[asyncpg.Record] | None = opened.connection.driver_connection
    if driver is None:
        msg = "the connection is gone"
        raise RuntimeError(msg)
    return driver


class Prepared:
    """A statement with named parameters. Rows come as asyncpg records: tuples whose columns also have names."""

    __slots__ = ("_defaults", "_names", "_statement", "sql")

    def __init__(self, statement: ClauseElement) -> None:
        self._statement: ClauseElement | None = statement
        self._names: list[str] = []
        self._defaults: dict[str, Any] = {}
        self.sql = ""

    async def all(self, connection: AsyncConnection, **values: object) -> list[asyncpg.Record]:
        """Run it; all rows."""
        return await driver_of(connection).fetch(self.sql or self._compile(), *self._arguments(values))

    async def first(self, connection: AsyncConnection, **values: object) -> asyncpg.Record | None:
        """Run it; the first row, or None."""
        return await driver_of(connection).fetchrow(self.sql or self._compile(), *self._arguments(values))

    async def value(self, connection: AsyncConnection, **values: object) -> Any:
        """Run it; the first column of the first row."""
        return await driver_of(connection).fetchval(self.sql or self._compile(), *self._arguments(values))

    def _arguments(self, values: dict[str, object]) -> list[object]:
        return [values[name] if name in values else self._defaults[name] for name in self._names]

    def _compile(self) -> str:
        assert self._statement is not None  # noqa: S101 - compiled once, then forgotten
        compiled = self._statement.compile(dialect=_DIALECT)
        self._names = list(getattr(compiled, "positiontup", None) or ())
        # Values that were written into the statement; a parameter without one must be given with every call.
        self._defaults = {name: value for name, value in compiled.params.items() if value is not None}
        self._statement = None
        self.sql = str(compiled)
        return self.sql
