"""Money set aside for a job: taken at the claim, given back or paid out once."""

from __future__ import annotations

from sharedjox_contracts.channels import private_user
from sharedjox_contracts.codec import money_from_cents
from sharedjox_contracts.events import WalletUpdated
from sqlalchemy import update

from sharedjox_marketplace.unit_of_work import UnitOfWork

from .ledger import LockedAccounts, Wallet, lock_accounts, post, post_new
from .model import Transaction
from .rules import AccountKind, TransactionType


def record_wallet_updated(unit: UnitOfWork, wallet: Wallet, kind: TransactionType, amount_cents: int) -> None:
    """Record `wallet.updated` with the balances that this transaction leaves."""
    unit.record(
        WalletUpdated(
            user_id=wallet.user_id,
            new_balance=money_from_cents(wallet.balance_cents),
            available_balance=money_from_cents(wallet.available_cents),
            transaction_type=kind.value,
            amount=money_from_cents(amount_cents),
            timestamp=unit.now,
        ),
        private_user(wallet.user_id),
    )


async def move_between(
    unit: UnitOfWork,
    accounts: LockedAccounts,
    *,
    user_id: int,
    transaction_id: int,
    amount_cents: int,
    source: AccountKind,
    target: AccountKind,
) -> None:
    """Move money within one wallet, or between a wallet and the outside; the accounts are locked already."""
    entries = {
        accounts.id_of(kind, None if kind is AccountKind.EXTERNAL else user_id): sign * amount_cents
        for kind, sign in ((source, -1), (target, 1))
    }
    await post(unit.connection, accounts, transaction_id=transaction_id, now=unit.now, entries=entries)


async def hold_for_job(unit: UnitOfWork, *, client_id: int, job_id: int, amount_cents: int) -> None:
    """Set the agreed amount aside on the client's wallet. Raises: InsufficientFundsError.

    The job's row is locked by the caller; the database admits one open hold per job.
    """
    accounts = await lock_accounts(unit.connection, [client_id])
    accounts.require_available(client_id, amount_cents)
    await post_new(
        unit.connection,
        accounts,
        user_id=client_id,
        kind=TransactionType.HOLD,
        job_id=job_id,
        amount_cents=amount_cents,
        now=unit.now,
        source=AccountKind.AVAILABLE,
        target=AccountKind.HELD,
    )
    record_wallet_updated(unit, accounts.wallet(client_id), TransactionType.HOLD, amount_cents)


async def settle_hold(unit: UnitOfWork, job_id: int) -> int:
    """End the job's open hold; returns its amount in cents. The job's row is locked by the caller."""
    settled = await unit.session.execute(
        update(Transaction)
        .where(
            Transaction.job_id == job_id,
            Transaction.type == TransactionType.HOLD.value,
            Transaction.settled_at.is_(None),
        )
        .values(settled_at=unit.now)
        .returning(Transaction.amount_cents)
    )
    return settled.scalar_one()


async def free_hold(unit: UnitOfWork, *, client_id: int, job_id: int) -> None:
    """Give the held amount back to the client's available balance."""
    amount_cents = await settle_hold(unit, job_id)
    accounts = await lock_accounts(unit.connection, [client_id])
    await post_new(
        unit.connection,
        accounts,
        user_id=client_id,
        kind=TransactionType.RELEASE,
        job_id=job_id,
        amount_cents=amount_cents,
        now=unit.now,
        source=AccountKind.HELD,
        target=AccountKind.AVAILABLE,
    )
    record_wallet_updated(unit, accounts.wallet(client_id), TransactionType.RELEASE, amount_cents)
