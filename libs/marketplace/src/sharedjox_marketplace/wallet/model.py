"""Tables of the ledger and of the transactions that people see.

The ledger is double entry: a transfer moves money between accounts by entries that add up to zero. Postgres enforces it
(triggers in the first migration): entries and transfers are append-only, a transfer that does not balance cannot
commit, an account's balance moves with its entries only, and no account but `external` can go below zero.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from sharedjox_marketplace.orm import Base, Cents, Instant, Serial

EXTERNAL_ACCOUNT_ID = 1
PLATFORM_ACCOUNT_ID = 2
"""The two accounts without an owner; the first migration makes them."""


class LedgerAccount(Base):
    """An account and its balance."""

    __tablename__ = "ledger_accounts"
    __table_args__ = (
        CheckConstraint("kind IN ('external', 'platform', 'available', 'held')", name="kind"),
        CheckConstraint("(kind IN ('available', 'held')) = (user_id IS NOT NULL)", name="owner"),
        CheckConstraint("kind = 'external' OR balance_cents >= 0", name="not_negative"),
        UniqueConstraint("user_id", "kind", postgresql_nulls_not_distinct=True),
    )

    id: Mapped[Serial]
    kind: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    balance_cents: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class Transaction(Base):
    """What a wallet's owner sees of a movement, before and after it happens. `user_id` None: the platform's own.

    A hold is `settled_at` once its money is paid or freed. The partial unique indexes are the last line of defence: a
    job has one open hold, and is paid once.
    """

    __tablename__ = "transactions"
    __table_args__ = (
        CheckConstraint("amount_cents > 0", name="amount_positive"),
        CheckConstraint("status IN ('pending', 'confirmed', 'rejected')", name="status"),
        CheckConstraint("(status = 'confirmed') = (confirmed_at IS NOT NULL)", name="confirmed_at"),
        CheckConstraint(
            "type IN ('deposit', 'withdrawal', 'hold', 'release', 'job_payment', 'job_earning', 'platform_fee',"
            " 'adjustment')",
            name="type",
        ),
        CheckConstraint("(type = 'platform_fee') = (user_id IS NULL)", name="owner"),
        Index("ix_transactions_user_id_id", "user_id", "id"),
        Index("ix_transactions_job_id", "job_id", postgresql_where=text("job_id IS NOT NULL")),
        Index("ix_transactions_pending", "id", postgresql_where=text("status = 'pending'")),
        Index(
            "uq_transactions_open_hold",
            "job_id",
            unique=True,
            postgresql_where=text("type = 'hold' AND settled_at IS NULL"),
        ),
        Index(
            "uq_transactions_job_earning",
            "job_id",
            unique=True,
            postgresql_where=text("type = 'job_earning' AND status <> 'rejected'"),
        ),
        Index(
            "uq_transactions_job_payment",
            "job_id",
            unique=True,
            postgresql_where=text("type = 'job_payment' AND status <> 'rejected'"),
        ),
        Index(
            "ix_transactions_release_due",
            "release_at",
            postgresql_where=text("type = 'job_earning' AND status = 'pending'"),
        ),
    )

    id: Mapped[Serial]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    type: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    amount_cents: Mapped[Cents]
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="RESTRICT"))
    created_at: Mapped[Instant]
    confirmed_at: Mapped[Instant | None]
    settled_at: Mapped[Instant | None]
    release_at: Mapped[Instant | None]
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))


class LedgerTransfer(Base):
    """One balanced movement. `transaction_id`: what it was for."""

    __tablename__ = "ledger_transfers"
    __table_args__ = (Index("ix_ledger_transfers_transaction_id", "transaction_id"),)

    id: Mapped[Serial]
    transaction_id: Mapped[int] = mapped_column(ForeignKey("transactions.id", ondelete="RESTRICT"))
    created_at: Mapped[Instant]


class LedgerEntry(Base):
    """One side of a transfer. `balance_after_cents` is filled in by the database: the account's running balance."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        CheckConstraint("amount_cents <> 0", name="amount_not_zero"),
        Index("ix_ledger_entries_account_id_id", "account_id", "id"),
        Index("ix_ledger_entries_transfer_id", "transfer_id"),
    )

    id: Mapped[Serial]
    transfer_id: Mapped[int] = mapped_column(ForeignKey("ledger_transfers.id", ondelete="RESTRICT"))
    account_id: Mapped[int] = mapped_column(ForeignKey("ledger_accounts.id", ondelete="RESTRICT"))
    amount_cents: Mapped[Cents]
    balance_after_cents: Mapped[Cents]
