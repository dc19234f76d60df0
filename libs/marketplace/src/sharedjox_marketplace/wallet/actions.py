"""What people, and time, do to money; each action is one transaction with its events."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update

from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.audit import audit
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.errors import NotAllowedError
from sharedjox_marketplace.jobs.records import LockedJob
from sharedjox_marketplace.jobs.repository import lock_job
from sharedjox_marketplace.notifications.actions import notify
from sharedjox_marketplace.unit_of_work import Transactor, UnitOfWork

from .errors import TransactionNotFoundError, TransactionNotPendingError
from .holds import free_hold, move_between, record_wallet_updated, settle_hold
from .ledger import lock_accounts, post
from .model import Transaction
from .repository import TransactionRecord, add_transaction, due_earnings
from .rules import AccountKind, TransactionStatus, TransactionType

_PAYMENT_TYPES: Final = (TransactionType.JOB_EARNING.value, TransactionType.JOB_PAYMENT.value)


@dataclass(frozen=True, slots=True)
class DepositAction:
    """Announce money that will come in; nothing moves until it is confirmed."""

    actor: Actor
    amount_cents: int

    async def __call__(self, unit: UnitOfWork) -> TransactionRecord:
        """Raises: NotAllowedError for operators, who have no use for a wallet."""
        _require_wallet_owner(self.actor)
        return await _add_pending(unit, self.actor.id, TransactionType.DEPOSIT, self.amount_cents)


@dataclass(frozen=True, slots=True)
class WithdrawAction:
    """Ask for money to be paid out; it is held at once, so that it cannot be spent twice."""

    actor: Actor
    amount_cents: int

    async def __call__(self, unit: UnitOfWork) -> TransactionRecord:
        """Raises: InsufficientFundsError, NotAllowedError."""
        _require_wallet_owner(self.actor)
        accounts = await lock_accounts(unit.connection, [self.actor.id])
        accounts.require_available(self.actor.id, self.amount_cents)
        added = await _add_pending(unit, self.actor.id, TransactionType.WITHDRAWAL, self.amount_cents)
        await move_between(
            unit,
            accounts,
            user_id=self.actor.id,
            transaction_id=added.id,
            amount_cents=self.amount_cents,
            source=AccountKind.AVAILABLE,
            target=AccountKind.HELD,
        )
        record_wallet_updated(unit, accounts.wallet(self.actor.id), TransactionType.WITHDRAWAL, self.amount_cents)
        return added


@dataclass(frozen=True, slots=True)
class ConfirmTransactionAction:
    """Let a pending transaction happen. `actor` None: the platform itself, when a pending earning is due.

    A job's earning and its payment are two sides of one settlement: confirming either confirms both.
    """

    actor: Actor | None
    transaction_id: int

    async def __call__(self, unit: UnitOfWork) -> Transaction:
        """Raises: TransactionNotFoundError, NotAllowedError, TransactionNotPendingError."""
        decided, job = await _lock_decidable(unit, self.transaction_id, self.actor)
        if job is not None:
            await _pay_job(unit, job, self.actor)
        else:
            await self._settle(unit, decided)
        await _audit_decision(unit, self.actor, decided, "transaction.confirmed")
        await unit.session.refresh(decided)
        return decided

    async def _settle(self, unit: UnitOfWork, decided: Transaction) -> None:
        """A deposit comes in, a withdrawal goes out."""
        user_id, kind = decided.user_id or 0, TransactionType(decided.type)
        accounts = await lock_accounts(unit.connection, [user_id], AccountKind.EXTERNAL)
        incoming = kind is TransactionType.DEPOSIT
        await _decide(unit, decided, TransactionStatus.CONFIRMED, self.actor)
        await move_between(
            unit,
            accounts,
            user_id=user_id,
            transaction_id=decided.id,
            amount_cents=decided.amount_cents,
            source=AccountKind.EXTERNAL if incoming else AccountKind.HELD,
            target=AccountKind.AVAILABLE if incoming else AccountKind.EXTERNAL,
        )
        record_wallet_updated(unit, accounts.wallet(user_id), kind, decided.amount_cents)
        await notify(
            unit,
            user_id,
            kind=f"wallet.{kind.value}_confirmed",
            title="Deposit confirmed" if incoming else "Withdrawal paid out",
            body=f"{_amount_text(decided.amount_cents)} {'is in your wallet' if incoming else 'left your wallet'}.",
        )


@dataclass(frozen=True, slots=True)
class RejectTransactionAction:
    """Call a pending transaction off; whatever it held is free again."""

    actor: Actor
    transaction_id: int

    async def __call__(self, unit: UnitOfWork) -> Transaction:
        """Raises: TransactionNotFoundError, NotAllowedError, TransactionNotPendingError."""
        decided, job = await _lock_decidable(unit, self.transaction_id, self.actor)
        if job is not None:
            await _refuse_job_payment(unit, job, self.actor)
        else:
            await self._call_off(unit, decided)
        await _audit_decision(unit, self.actor, decided, "transaction.rejected")
        await unit.session.refresh(decided)
        return decided

    async def _call_off(self, unit: UnitOfWork, decided: Transaction) -> None:
        user_id, kind = decided.user_id or 0, TransactionType(decided.type)
        if kind is TransactionType.WITHDRAWAL:
            accounts = await lock_accounts(unit.connection, [user_id])
            await move_between(
                unit,
                accounts,
                user_id=user_id,
                transaction_id=decided.id,
                amount_cents=decided.amount_cents,
                source=AccountKind.HELD,
                target=AccountKind.AVAILABLE,
            )
            record_wallet_updated(unit, accounts.wallet(user_id), TransactionType.RELEASE, decided.amount_cents)
        await _decide(unit, decided, TransactionStatus.REJECTED, self.actor)
        await notify(
            unit,
            user_id,
            kind=f"wallet.{kind.value}_rejected",
            title=f"{kind.value.capitalize()} rejected",
            body=f"Your {kind.value} of {_amount_text(decided.amount_cents)} was rejected.",
        )


class ReleaseDueEarnings:
    """Pays out earnings that nobody confirmed in time. For the worker's timer; several may run at once."""

    def __init__(self, transactor: Transactor) -> None:
        self._transactor = transactor

    async def __call__(self, now: dt.datetime, *, limit: int = 100) -> int:
        """Release what is due at `now`, each earning in a transaction of its own; returns how many."""

        async def find(unit: UnitOfWork) -> list[int]:
            return list(await due_earnings(unit.session, now, limit))

        released = 0
        for transaction_id in await self._transactor.run(find):
            try:
                await self._transactor.run(ConfirmTransactionAction(actor=None, transaction_id=transaction_id))
            except TransactionNotPendingError:
                continue  # confirmed by hand, or released by another worker, since we looked
            released += 1
        return released


def _require_wallet_owner(actor: Actor) -> None:
    if actor.role is Role.OPERATOR:
        raise NotAllowedError("operators have no wallet")


async def _add_pending(unit: UnitOfWork, user_id: int, kind: TransactionType, amount_cents: int) -> TransactionRecord:
    transaction_id = await add_transaction(unit, user_id=user_id, kind=kind, amount_cents=amount_cents, pending=True)
    return TransactionRecord(
        id=transaction_id,
        type=kind.value,
        status=TransactionStatus.PENDING.value,
        amount_cents=amount_cents,
        job_id=None,
        created_at=unit.now,
        confirmed_at=None,
    )


async def _lock_decidable(
    unit: UnitOfWork, transaction_id: int, actor: Actor | None
) -> tuple[Transaction, LockedJob | None]:
    """Lock the transaction, and before it the job it belongs to, once the actor may decide it and it is pending."""
    job_id = (
        await unit.session.execute(select(Transaction.job_id).where(Transaction.id == transaction_id))
    ).one_or_none()
    if job_id is None:
        raise TransactionNotFoundError(f"there is no transaction {transaction_id}")
    job = await lock_job(unit.connection, job_id[0]) if job_id[0] is not None else None
    found = await unit.session.execute(select(Transaction).where(Transaction.id == transaction_id).with_for_update())
    decided = found.scalar_one()
    pays = job is not None and actor is not None and job.client_id == actor.id and decided.type in _PAYMENT_TYPES
    if actor is not None and actor.role is not Role.OPERATOR and not pays:
        raise NotAllowedError("only operators decide this; an earning also the client who pays it")
    if decided.status != TransactionStatus.PENDING.value:
        raise TransactionNotPendingError(
            f"the transaction is {decided.status} already", transactionStatus=decided.status
        )
    return decided, job


async def _decide(unit: UnitOfWork, decided: Transaction, status: TransactionStatus, actor: Actor | None) -> None:
    await unit.session.execute(
        update(Transaction).where(Transaction.id == decided.id).values(**_decision(unit, status, actor))
    )


def _decision(unit: UnitOfWork, status: TransactionStatus, actor: Actor | None) -> dict[str, object]:
    return {
        "status": status.value,
        "confirmed_at": unit.now if status is TransactionStatus.CONFIRMED else None,
        "settled_at": unit.now,
        "decided_by": actor.id if actor else None,
    }


async def _decide_payment(
    unit: UnitOfWork, job: LockedJob, status: TransactionStatus, actor: Actor | None
) -> dict[TransactionType, Transaction]:
    """Decide earning and payment of a job together; returns both."""
    rows = await unit.session.execute(
        update(Transaction)
        .where(
            Transaction.job_id == job.id,
            Transaction.type.in_(_PAYMENT_TYPES),
            Transaction.status == TransactionStatus.PENDING.value,
        )
        .values(**_decision(unit, status, actor))
        .returning(Transaction)
        .execution_options(populate_existing=True)
    )
    return {TransactionType(row.type): row for row in rows.scalars()}


async def _pay_job(unit: UnitOfWork, job: LockedJob, actor: Actor | None) -> None:
    """Move the held money: from the client to the freelancer, the fee to the platform."""
    sides = await _decide_payment(unit, job, TransactionStatus.CONFIRMED, actor)
    earning, payment = sides[TransactionType.JOB_EARNING], sides[TransactionType.JOB_PAYMENT]
    client_id, freelancer_id = job.client_id, earning.user_id or 0
    await settle_hold(unit, job.id)
    accounts = await lock_accounts(unit.connection, [client_id, freelancer_id], AccountKind.PLATFORM)
    fee_cents = payment.amount_cents - earning.amount_cents
    if fee_cents:
        await add_transaction(
            unit,
            user_id=None,
            kind=TransactionType.PLATFORM_FEE,
            amount_cents=fee_cents,
            job_id=job.id,
        )
    await post(
        unit.connection,
        accounts,
        transaction_id=earning.id,
        now=unit.now,
        entries={
            accounts.id_of(AccountKind.HELD, client_id): -payment.amount_cents,
            accounts.id_of(AccountKind.AVAILABLE, freelancer_id): earning.amount_cents,
            accounts.id_of(AccountKind.PLATFORM): fee_cents,
        },
    )
    record_wallet_updated(unit, accounts.wallet(client_id), TransactionType.JOB_PAYMENT, payment.amount_cents)
    record_wallet_updated(unit, accounts.wallet(freelancer_id), TransactionType.JOB_EARNING, earning.amount_cents)
    await notify(
        unit,
        freelancer_id,
        kind="wallet.job_earning_confirmed",
        title="You were paid",
        body=f"{_amount_text(earning.amount_cents)} for “{job.title}” is in your wallet.",
        job_id=job.id,
    )


async def _refuse_job_payment(unit: UnitOfWork, job: LockedJob, actor: Actor) -> None:
    """Neither earning nor payment: the held money goes back to the client."""
    sides = await _decide_payment(unit, job, TransactionStatus.REJECTED, actor)
    await free_hold(unit, client_id=job.client_id, job_id=job.id)
    await notify(
        unit,
        sides[TransactionType.JOB_EARNING].user_id or 0,
        kind="wallet.job_earning_rejected",
        title="Payment rejected",
        body=f"The payment for “{job.title}” was rejected.",
        job_id=job.id,
    )


async def _audit_decision(unit: UnitOfWork, actor: Actor | None, decided: Transaction, action: str) -> None:
    await audit(
        unit,
        action,
        actor_id=actor.id if actor else None,
        subject=f"transaction:{decided.id}",
        type=decided.type,
        amountCents=decided.amount_cents,
        userId=decided.user_id,
        jobId=decided.job_id,
    )


def _amount_text(cents: int) -> str:
    """An amount for a sentence; the marketplace has one currency and does not name it."""
    return f"{cents // 100}.{cents % 100:02d}"
