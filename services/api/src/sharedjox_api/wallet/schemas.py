"""Bodies and answers of wallets and transactions."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sharedjox_contracts.codec import money_from_cents
from sharedjox_marketplace.wallet.ledger import Wallet
from sharedjox_marketplace.wallet.model import Transaction
from sharedjox_marketplace.wallet.repository import TransactionRecord
from sharedjox_marketplace.wallet.statement import StatementLine

from sharedjox_api.http.answers import Answer, Id, Money
from sharedjox_api.http.json_body import Amount, Body

TransactionTypeName = Literal[
    "deposit", "withdrawal", "hold", "release", "job_payment", "job_earning", "platform_fee", "adjustment"
]
TransactionStatusName = Literal["pending", "confirmed", "rejected"]


class AmountBody(Body):
    """How much to deposit or withdraw."""

    amount: Annotated[Amount, Field(examples=[25.5])]


class WalletAnswer(Answer, frozen=True):
    """A wallet. `balance` is `availableBalance` and `heldBalance` together."""

    user_id: Id
    balance: Money
    available_balance: Money
    held_balance: Money


class TransactionAnswer(Answer, frozen=True):
    """A transaction. `amount` is positive; the type tells the direction."""

    id: Id
    type: TransactionTypeName
    status: TransactionStatusName
    amount: Money
    job_id: Id | None
    created_at: dt.datetime
    confirmed_at: dt.datetime | None


class StatementLineAnswer(Answer, frozen=True):
    """A movement of a wallet's money and the balances right after it.

    `change` is signed: what the wallet has more than before, 0 when money was only held or freed. `amount` is positive.
    `transactionId` is the transaction it belongs to, as the wallet's owner lists it.
    """

    id: Id
    type: TransactionTypeName
    amount: Money
    change: Money
    available_change: Money
    held_change: Money
    balance: Money
    available_balance: Money
    held_balance: Money
    transaction_id: Id | None
    job_id: Id | None
    created_at: dt.datetime


def wallet_answer(wallet: Wallet) -> WalletAnswer:
    """Shape a wallet."""
    return WalletAnswer(
        wallet.user_id,
        money_from_cents(wallet.balance_cents),
        money_from_cents(wallet.available_cents),
        money_from_cents(wallet.held_cents),
    )


def transaction_answer(transaction: Transaction | TransactionRecord) -> TransactionAnswer:
    """Shape a transaction."""
    kind: Any = transaction.type
    status: Any = transaction.status
    return TransactionAnswer(
        transaction.id,
        kind,
        status,
        money_from_cents(transaction.amount_cents),
        transaction.job_id,
        transaction.created_at,
        transaction.confirmed_at,
    )


def statement_line_answer(line: StatementLine) -> StatementLineAnswer:
    """Shape a line of a statement."""
    kind: Any = line.type
    return StatementLineAnswer(
        line.id,
        kind,
        money_from_cents(line.amount_cents),
        money_from_cents(line.change_cents),
        money_from_cents(line.available_change_cents),
        money_from_cents(line.held_change_cents),
        money_from_cents(line.balance_cents),
        money_from_cents(line.available_cents),
        money_from_cents(line.held_cents),
        line.transaction_id,
        line.job_id,
        line.created_at,
    )


WALLET_EXAMPLE: Final = {"userId": 3, "balance": 145, "availableBalance": 145, "heldBalance": 0}
TRANSACTION_EXAMPLE: Final = {
    "id": 7,
    "type": "job_earning",
    "status": "confirmed",
    "amount": 45,
    "jobId": 1,
    "createdAt": "2026-02-21T10:25:00Z",
    "confirmedAt": "2026-02-21T10:30:00Z",
}
STATEMENT_LINE_EXAMPLE: Final = {
    "id": 12,
    "type": "job_earning",
    "amount": 45,
    "change": 45,
    "availableChange": 45,
    "heldChange": 0,
    "balance": 145,
    "availableBalance": 145,
    "heldBalance": 0,
    "transactionId": 7,
    "jobId": 1,
    "createdAt": "2026-02-21T10:30:00Z",
}
