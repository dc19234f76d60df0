"""The rules of money."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_marketplace.wallet.errors import InsufficientFundsError
from sharedjox_marketplace.wallet.ledger import LockedAccounts, Wallet
from sharedjox_marketplace.wallet.rules import AccountKind, split_fee


@pytest.mark.parametrize("agreed", [0, -1])
def test_nothing_cannot_be_split(agreed: int) -> None:
    with pytest.raises(ValueError, match="one cent"):
        split_fee(agreed, Decimal(10))


@pytest.mark.parametrize(
    ("agreed", "percent", "earning", "fee"),
    [
        (50_00, "10", 45_00, 5_00),
        (1, "10", 1, 0),
        (5, "10", 4, 1),
        (4, "10", 4, 0),
        (15, "10", 13, 2),
        (1, "50", 1, 0),
        (100, "0", 100, 0),
        (99_99, "12.5", 87_49, 12_50),
    ],
)
def test_split_fee(agreed: int, percent: str, earning: int, fee: int) -> None:
    split = split_fee(agreed, Decimal(percent))
    assert (split.earning_cents, split.fee_cents) == (earning, fee)


@given(st.integers(1, 10**8), st.decimals(0, 50, places=2))
def test_the_parts_are_the_whole(agreed: int, percent: Decimal) -> None:
    split = split_fee(agreed, percent)
    assert split.earning_cents + split.fee_cents == agreed
    assert split.earning_cents >= 1
    assert 0 <= split.fee_cents <= agreed * percent / 100 + Decimal("0.5")


def test_locked_accounts_know_what_is_free() -> None:
    accounts = LockedAccounts({(7, AccountKind.AVAILABLE): (3, 40_00), (7, AccountKind.HELD): (4, 10_00)})
    assert accounts.wallet(7) == Wallet(7, 40_00, 10_00)
    assert accounts.wallet(7).balance_cents == 50_00
    accounts.require_available(7, 40_00)
    with pytest.raises(InsufficientFundsError):
        accounts.require_available(7, 40_01)
    accounts.apply([(3, 30_00), (4, 20_00)])
    assert accounts.wallet(7) == Wallet(7, 30_00, 20_00)
    with pytest.raises(KeyError):
        accounts.id_of(AccountKind.PLATFORM)
