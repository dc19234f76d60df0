"""Reading and writing transactions and wallets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from sqlalchemy import bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from sharedjox_marketplace.accounts.repository import ActorReading
from sharedjox_marketplace.orm import Record, columns_of
from sharedjox_marketplace.prepared import Prepared
from sharedjox_marketplace.unit_of_work import UnitOfWork

from .ledger import Wallet
from .model import LedgerAccount, Transaction
from .rules import AccountKind, TransactionStatus, TransactionType


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """What a list of transactions is narrowed to. `user_id` None: everybody's (operators)."""

    user_id: int | None = None
    status: TransactionStatus | None = None
    type: TransactionType | None = None
    job_id: int | None = None


class TransactionRecord(Record, frozen=True):
    """A transaction as committed, as far as people see it."""

    id: int
    type: str
    status: str
    amount_cents: int
    job_id: int | None
    created_at: dt.datetime
    confirmed_at: dt.datetime | None


_TRANSACTION: Final = select(*columns_of(TransactionRecord, Transaction))
_OF_WALLET: Final = select(LedgerAccount.kind, LedgerAccount.balance_cents).where(
    LedgerAccount.user_id == bindparam("user_id")
)
_BALANCES: Final = Prepared(_OF_WALLET)
BALANCES: Final = ActorReading(_OF_WALLET)
_ADD: Final = Prepared(
    insert(Transaction)
    .values(
        {
            name: bindparam(name)
            for name in (
                "user_id",
                "type",
                "status",
                "amount_cents",
                "job_id",
                "created_at",
                "confirmed_at",
                "settled_at",
                "release_at",
            )
        }
    )
    .returning(Transaction.id)
)


async def find_wallet(connection: AsyncConnection, user_id: int) -> Wallet:
    """A user's wallet as committed."""
    return the_wallet(await _BALANCES.all(connection, user_id=user_id), user_id)


def the_wallet(rows: Iterable[tuple[Any, ...] | asyncpg.Record], user_id: int) -> Wallet:
    """What `BALANCES` has found."""
    balances: dict[str, int] = {kind: cents for kind, cents in rows}
    return Wallet(user_id, balances.get(AccountKind.AVAILABLE.value, 0), balances.get(AccountKind.HELD.value, 0))


async def open_wallet(session: AsyncSession, user_id: int) -> None:
    """Give a new user the two accounts of a wallet."""
    await session.execute(
        insert(LedgerAccount),
        [{"user_id": user_id, "kind": kind.value} for kind in (AccountKind.AVAILABLE, AccountKind.HELD)],
    )


async def list_transactions(
    connection: AsyncConnection, wanted: TransactionFilter, *, before_id: int | None, limit: int
) -> list[TransactionRecord]:
    """Transactions, newest first, with ids below `before_id`; one more than `limit` tells of a next page."""
    query = _TRANSACTION.order_by(Transaction.id.desc()).limit(limit + 1)
    if wanted.user_id is not None:
        query = query.where(Transaction.user_id == wanted.user_id)
    if wanted.status is not None:
        query = query.where(Transaction.status == wanted.status.value)
    if wanted.type is not None:
        query = query.where(Transaction.type == wanted.type.value)
    if wanted.job_id is not None:
        query = query.where(Transaction.job_id == wanted.job_id)
    if before_id is not None:
        query = query.where(Transaction.id < before_id)
    return [TransactionRecord(*row) for row in await connection.execute(query)]


async def add_transaction(
    unit: UnitOfWork,
    *,
    user_id: int | None,
    kind: TransactionType,
    amount_cents: int,
    job_id: int | None = None,
    pending: bool = False,
    release_at: dt.datetime | None = None,
) -> int:
    """Insert a transaction, confirmed unless `pending`; returns its id."""
    transaction_id: int = await _ADD.value(
        unit.connection,
        user_id=user_id,
        type=kind.value,
        status=(TransactionStatus.PENDING if pending else TransactionStatus.CONFIRMED).value,
        amount_cents=amount_cents,
        job_id=job_id,
        created_at=unit.now,
        confirmed_at=None if pending else unit.now,
        settled_at=None if pending else unit.now,
        release_at=release_at,
    )
    return transaction_id


async def due_earnings(session: AsyncSession, now: dt.datetime, limit: int) -> Sequence[int]:
    """Ids of pending earnings whose time to be released has come, oldest first."""
    found = await session.execute(
        select(Transaction.id)
        .where(
            Transaction.type == TransactionType.JOB_EARNING.value,
            Transaction.status == TransactionStatus.PENDING.value,
            Transaction.release_at <= now,
        )
        .order_by(Transaction.release_at)
        .limit(limit)
    )
    return found.scalars().all()
