"""Moving money: lock the accounts, look, post one balanced transfer.

Every action locks in the same order (idempotency key, job, transactions, accounts by ascending id, outbox channels), so
no two can wait for each other in a circle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg
from sqlalchemy import ARRAY, BigInteger, DateTime, any_, bindparam, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sharedjox_marketplace.database import constraint_name
from sharedjox_marketplace.prepared import Prepared

from .errors import InsufficientFundsError
from .model import EXTERNAL_ACCOUNT_ID, PLATFORM_ACCOUNT_ID, LedgerAccount
from .rules import AccountKind, TransactionType

_NOT_NEGATIVE: Final = "ck_ledger_accounts_not_negative"


@dataclass(frozen=True, slots=True)
class Wallet:
    """A user's money: what is free and what is held for jobs and withdrawals."""

    user_id: int
    available_cents: int
    held_cents: int

    @property
    def balance_cents(self) -> int:
        """All of it."""
        return self.available_cents + self.held_cents


class LockedAccounts:
    """Accounts whose rows this transaction has locked, with balances that follow the transfers posted through it."""

    def __init__(self, accounts: Mapping[tuple[int | None, AccountKind], tuple[int, int]]) -> None:
        self._ids = {key: account_id for key, (account_id, _) in accounts.items()}
        self._balances = {account_id: balance for account_id, balance in accounts.values()}

    def id_of(self, kind: AccountKind, user_id: int | None = None) -> int:
        """The account's id. Raises: KeyError when it was not locked."""
        return self._ids[user_id, kind]

    def wallet(self, user_id: int) -> Wallet:
        """A locked wallet as it is now."""
        return Wallet(
            user_id,
            self._balances[self.id_of(AccountKind.AVAILABLE, user_id)],
            self._balances[self.id_of(AccountKind.HELD, user_id)],
        )

    def require_available(self, user_id: int, amount_cents: int) -> None:
        """Raises: InsufficientFundsError when the wallet has less than `amount_cents` free."""
        if self.wallet(user_id).available_cents < amount_cents:
            raise insufficient_funds()

    def apply(self, balances: Iterable[tuple[int, int]]) -> None:
        """Take over balances that a transfer left."""
        self._balances.update(balances)


def insufficient_funds() -> InsufficientFundsError:
    """Never says how much is missing: the caller may be the freelancer, and the wallet the client's."""
    return InsufficientFundsError("the wallet's available balance does not cover this amount")


_LOCK: Final = Prepared(
    select(LedgerAccount.id, LedgerAccount.user_id, LedgerAccount.kind, LedgerAccount.balance_cents)
    .where(
        or_(
            LedgerAccount.user_id == any_(bindparam("user_ids", type_=ARRAY(BigInteger))),
            LedgerAccount.id == any_(bindparam("system_ids", type_=ARRAY(BigInteger))),
        )
    )
    .order_by(LedgerAccount.id)
    .with_for_update()
)


async def lock_accounts(connection: AsyncConnection, user_ids: Iterable[int], *system: AccountKind) -> LockedAccounts:
    """Lock the wallets of `user_ids`, and the platform's accounts named, by ascending id."""
    system_ids = [
        EXTERNAL_ACCOUNT_ID if kind is AccountKind.EXTERNAL else PLATFORM_ACCOUNT_ID
        for kind in system
        if kind in (AccountKind.EXTERNAL, AccountKind.PLATFORM)
    ]
    rows = await _LOCK.all(connection, user_ids=list(user_ids), system_ids=system_ids)
    return LockedAccounts(
        {(user_id, AccountKind(kind)): (account_id, cents) for account_id, user_id, kind, cents in rows}
    )


_POSTED: Final = (
    "posted AS ("
    " INSERT INTO ledger_entries (transfer_id, account_id, amount_cents)"
    " SELECT transfer.id, entry.account_id, entry.amount_cents"
    " FROM transfer, unnest(CAST(:accounts AS bigint[]), CAST(:amounts AS bigint[]))"
    " AS entry (account_id, amount_cents) ORDER BY entry.account_id"
    " RETURNING account_id, balance_after_cents"
    ") SELECT account_id, balance_after_cents FROM posted"
)
_TYPES: Final = (
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("accounts", type_=ARRAY(BigInteger)),
    bindparam("amounts", type_=ARRAY(BigInteger)),
)
_POST: Final = Prepared(
    text(
        "WITH transfer AS ("  # noqa: S608 - put together from constants
        " INSERT INTO ledger_transfers (transaction_id, created_at) VALUES (:transaction_id, :now) RETURNING id"
        f"), {_POSTED}"
    ).bindparams(*_TYPES)
)
_POST_NEW: Final = Prepared(
    text(
        "WITH transaction AS ("  # noqa: S608 - put together from constants
        " INSERT INTO transactions (user_id, type, status, amount_cents, job_id, created_at, confirmed_at, settled_at)"
        " VALUES (:user_id, :type, 'confirmed', :amount_cents, :job_id, :now, :now, :settled_at) RETURNING id"
        "), transfer AS ("
        " INSERT INTO ledger_transfers (transaction_id, created_at) SELECT id, :now FROM transaction RETURNING id"
        f"), {_POSTED}"
    ).bindparams(*_TYPES, bindparam("settled_at", type_=DateTime(timezone=True)))
)


async def post(
    connection: AsyncConnection,
    accounts: LockedAccounts,
    *,
    transaction_id: int,
    now: dt.datetime,
    entries: Mapping[int, int],
) -> None:
    """Post one transfer for a transaction; `entries` maps account id to signed cents and must add up to zero.

    Raises: InsufficientFundsError when an account would fall below zero.
    """
    await _post(connection, accounts, _POST, entries, {"transaction_id": transaction_id, "now": now})


async def post_new(
    connection: AsyncConnection,
    accounts: LockedAccounts,
    *,
    user_id: int,
    kind: TransactionType,
    job_id: int,
    amount_cents: int,
    now: dt.datetime,
    source: AccountKind,
    target: AccountKind,
) -> None:
    """Add a confirmed transaction and move its amount within one wallet, in one statement.

    A hold stays unsettled until it is paid or freed. Raises: InsufficientFundsError.
    """
    entries = {accounts.id_of(source, user_id): -amount_cents, accounts.id_of(target, user_id): amount_cents}
    values = {
        "user_id": user_id,
        "type": kind.value,
        "amount_cents": amount_cents,
        "job_id": job_id,
        "now": now,
        "settled_at": None if kind is TransactionType.HOLD else now,
    }
    await _post(connection, accounts, _POST_NEW, entries, values)


async def _post(
    connection: AsyncConnection,
    accounts: LockedAccounts,
    statement: Prepared,
    entries: Mapping[int, int],
    values: Mapping[str, object],
) -> None:
    moved = {account_id: cents for account_id, cents in sorted(entries.items()) if cents}
    if sum(moved.values()) != 0 or len(moved) < 2:
        msg = f"a transfer has two sides and adds up to zero, not {entries}"
        raise ValueError(msg)
    try:
        rows = await statement.all(connection, **values, accounts=list(moved), amounts=list(moved.values()))
    except asyncpg.CheckViolationError as error:
        if constraint_name(error) == _NOT_NEGATIVE:
            raise insufficient_funds() from error
        raise
    accounts.apply([(account_id, cents) for account_id, cents in rows])
