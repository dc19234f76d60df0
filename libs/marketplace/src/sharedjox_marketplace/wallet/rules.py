"""The rules of money. Pure: whole cents in, whole cents out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from typing import Final

MAX_AMOUNT_CENTS: Final = 100_000_000
"""One million: no single budget, deposit or withdrawal is larger."""


class TransactionType(Enum):
    """What a transaction is for. Amounts are positive; the type tells the direction."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    HOLD = "hold"
    RELEASE = "release"
    JOB_PAYMENT = "job_payment"
    JOB_EARNING = "job_earning"
    PLATFORM_FEE = "platform_fee"
    ADJUSTMENT = "adjustment"


class TransactionStatus(Enum):
    """Where a transaction stands. Only pending ones can be decided."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


class AccountKind(Enum):
    """The ledger's accounts. A wallet is its owner's `available` and `held`; `external` is the world outside."""

    EXTERNAL = "external"
    PLATFORM = "platform"
    AVAILABLE = "available"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Split:
    """An agreed amount, divided. The parts always add up to the whole."""

    earning_cents: int
    fee_cents: int


def split_fee(agreed_cents: int, fee_percent: Decimal) -> Split:
    """Divide an agreed amount into the freelancer's earning and the platform's fee.

    The fee is rounded half up to the cent, and leaves the freelancer one cent at least.
    """
    if agreed_cents < 1:
        msg = "an agreed amount is one cent or more"
        raise ValueError(msg)
    exact = Decimal(agreed_cents) * fee_percent / 100
    fee = min(int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)), agreed_cents - 1)
    return Split(earning_cents=agreed_cents - fee, fee_cents=fee)
