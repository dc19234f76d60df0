"""One action, one transaction, one commit; its events last.

`Transactor.run` opens the transaction, runs the work, appends the recorded events to the outbox, commits, and only then
rings the bell and returns. A transaction that lost a race in the database is run again from the start, so work must
not keep state between runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sharedjox_contracts.events import Payload
from sharedjox_kit.clock import Clock, SystemClock
from sharedjox_outbox.writer import OutboxEvent, append_on_driver
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from .context import NO_REQUEST, RequestContext
from .database import DATABASE_ERRORS, is_worth_another_try
from .prepared import driver_of

MAX_ATTEMPTS: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.005
_BEGIN: Final = "BEGIN; SET LOCAL plan_cache_mode = auto"
"""Sessions plan every statement for its values, as discovery needs it. What an action runs, and the foreign keys and
triggers behind it, find rows by their keys: planning that each time led Postgres' profile during claims."""

_Result = TypeVar("_Result")


class UnitOfWork:
    """The transaction an action runs in. Actions use `connection`, `session`, `now` and `record`; they never commit."""

    __slots__ = ("_session", "connection", "context", "events", "now")

    def __init__(self, connection: AsyncConnection, *, now: dt.datetime, context: RequestContext) -> None:
        self._session: AsyncSession | None = None
        self.connection = connection
        self.now = now
        self.context = context
        self.events: list[OutboxEvent] = []

    @property
    def session(self) -> AsyncSession:
        """The session of this transaction, for whole objects; prepared statements do without one."""
        if self._session is None:
            self._session = AsyncSession(self.connection, expire_on_commit=False, autoflush=False)
        return self._session

    async def plan_for_values(self) -> None:
        """Have the following statements planned for their values: some find few rows and some half a table."""
        await driver_of(self.connection).execute("SET LOCAL plan_cache_mode = force_custom_plan")

    async def flush(self) -> None:
        """Write what the session holds, so that it is there for statements that come after."""
        if self._session is not None:
            await self._session.flush()

    async def close(self) -> None:
        """Let go of the session's objects."""
        if self._session is not None:
            await self._session.close()

    def record(self, payload: Payload, *channels: str) -> None:
        """Remember an event; it is appended to the outbox just before the commit, in the order of the calls."""
        self.events.append(
            OutboxEvent(
                payload,
                channels,
                except_socket_id=self.context.socket_id,
                request_id=self.context.request_id,
                traceparent=self.context.traceparent,
            )
        )


Work = Callable[[UnitOfWork], Awaitable[_Result]]


def _nothing() -> None:
    """No bell."""


class Transactor:
    """Runs work in transactions on one engine. `on_commit` is called after each commit that appended events."""

    def __init__(
        self, engine: AsyncEngine, *, clock: Clock | None = None, on_commit: Callable[[], None] = _nothing
    ) -> None:
        # We begin and commit ourselves, so that SQLAlchemy's statements and asyncpg's own share one transaction.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._clock = clock or SystemClock()
        self._on_commit = on_commit

    async def run(self, work: Work[_Result], context: RequestContext = NO_REQUEST) -> _Result:
        """Run `work` and commit. Raises what the work raises, or the database's error once retrying has no use."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return await self._once(work, context)
            except DATABASE_ERRORS as error:
                if attempt == MAX_ATTEMPTS or not is_worth_another_try(error):
                    raise
            # Full jitter: those who collided must not meet again.
            pause = FIRST_PAUSE_SECONDS * 2**attempt * random.random()  # noqa: S311 - not a secret
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, work: Work[_Result], context: RequestContext) -> _Result:
        async with self._engine.connect() as connection:
            await _begin(connection)
            unit = UnitOfWork(connection, now=self._clock.now(), context=context)
            try:
                try:
                    result = await work(unit)
                    await unit.flush()
                    appended = await append_on_driver(driver_of(connection), unit.events)
                finally:
                    await unit.close()
            except BaseException:
                await _roll_back(connection)
                raise
            try:
                await driver_of(connection).execute("COMMIT")
            except BaseException:
                await _drop_unless_clean(connection)
                raise
        if appended:
            self._on_commit()
        return result


async def _begin(connection: AsyncConnection) -> None:
    try:
        await driver_of(connection).execute(_BEGIN)
    except BaseException:
        await connection.invalidate()  # a connection on which nothing can begin is of no use to anybody
        raise


async def _roll_back(connection: AsyncConnection) -> None:
    """Leave the connection clean for the next one, or do not leave it at all."""
    if connection.invalidated:
        return
    with contextlib.suppress(*DATABASE_ERRORS, OSError):
        await driver_of(connection).execute("ROLLBACK")
    await _drop_unless_clean(connection)


async def _drop_unless_clean(connection: AsyncConnection) -> None:
    """A refused commit leaves a usable connection; one that was cut or is still in a transaction is not used again."""
    if connection.invalidated:
        return
    driver = driver_of(connection)
    if driver.is_closed() or driver.is_in_transaction():
        await connection.invalidate()
