"""Refusals around money."""

from __future__ import annotations

from sharedjox_marketplace.errors import DomainError, ErrorKind


class InsufficientFundsError(DomainError):
    """The wallet's available balance does not cover the amount."""

    kind = ErrorKind.CONFLICT
    code = "insufficient-funds"
    title = "Insufficient funds"


class TransactionNotFoundError(DomainError):
    """No such transaction, or none that the caller may know of."""

    kind = ErrorKind.NOT_FOUND
    code = "transaction-not-found"
    title = "No such transaction"


class TransactionNotPendingError(DomainError):
    """The transaction was decided before, or is of a type that nobody decides."""

    kind = ErrorKind.CONFLICT
    code = "transaction-not-pending"
    title = "Transaction already decided"
