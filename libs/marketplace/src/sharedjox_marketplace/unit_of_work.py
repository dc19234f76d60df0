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

from asyncpg.transaction import Transaction
from sharedjox_contracts.events import Payload
from sharedjox_kit.clock import Clock, SystemClock
from sharedjox_outbox.writer import OutboxEvent, append
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from .context import NO_REQUEST, RequestContext
from .database import DATABASE_ERRORS, is_worth_another_try
from .prepared import driver_of

MAX_ATTEMPTS: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.005

_Result = TypeVar("_Result")


class UnitOfWork:
    """The transaction an action runs in. Actions use `session`, `now` and `record`; they never commit.

    `connection` is the session's own, for prepared statements.
    """

    __slots__ = ("connection", "context", "events", "now", "session")

    def __init__(
        self, session: AsyncSession, connection: AsyncConnection, *, now: dt.datetime, context: RequestContext
    ) -> None:
        self.session = session
        self.connection = connection
        self.now = now
        self.context = context
        self.events: list[OutboxEvent] = []

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
            transaction = await _begin(connection)
            try:
                async with AsyncSession(connection, expire_on_commit=False, autoflush=False) as session:
                    unit = UnitOfWork(session, connection, now=self._clock.now(), context=context)
                    result = await work(unit)
                    await session.flush()
                    appended = await append(connection, unit.events)
            except BaseException:
                await _roll_back(connection, transaction)
                raise
            try:
                await transaction.commit()
            except BaseException:
                await _drop_unless_clean(connection)
                raise
        if appended:
            self._on_commit()
        return result


async def _begin(connection: AsyncConnection) -> Transaction:
    transaction = driver_of(connection).transaction()
    try:
        await transaction.start()
    except BaseException:
        await connection.invalidate()  # a connection on which nothing can begin is of no use to anybody
        raise
    return transaction


async def _roll_back(connection: AsyncConnection, transaction: Transaction) -> None:
    """Leave the connection clean for the next one, or do not leave it at all."""
    with contextlib.suppress(*DATABASE_ERRORS, OSError):
        await transaction.rollback()
    await _drop_unless_clean(connection)


async def _drop_unless_clean(connection: AsyncConnection) -> None:
    """A refused commit leaves a usable connection; one that was cut or is still in a transaction is not used again."""
    if connection.invalidated:
        return
    driver = driver_of(connection)
    if driver.is_closed() or driver.is_in_transaction():
        await connection.invalidate()
