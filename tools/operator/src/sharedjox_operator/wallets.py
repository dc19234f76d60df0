"""`sharedjox wallet statement`: why a balance is what it is, line by line, as the wallet's owner sees it too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sharedjox_contracts.codec import encode_json_text, money_from_cents
from sharedjox_marketplace.accounts.model import User
from sharedjox_marketplace.accounts.rules import normalize_email
from sharedjox_marketplace.database import create_engine
from sharedjox_marketplace.orm import BIGINT_MAX
from sharedjox_marketplace.prepared import Prepared, driver_of
from sharedjox_marketplace.wallet.ledger import Wallet
from sharedjox_marketplace.wallet.repository import find_wallet
from sharedjox_marketplace.wallet.statement import StatementLine, wallet_statement
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from .errors import OperatorError
from .tables import table

_USER: Final = select(User.id, User.email, User.role)
_BY_ID: Final = Prepared(_USER.where(User.id == bindparam("user")))
_BY_EMAIL: Final = Prepared(_USER.where(User.email == bindparam("user")))
_HEADS: Final = ("id", "time", "kind", "amount", "change", "balance", "available", "held", "job", "transaction")


async def show_statement(database_url: str, user: str, *, before_id: int | None, limit: int, as_json: bool) -> str:
    """A page of a user's statement, newest first: a table under the present balances, or a JSON object a line.

    `user` is an id or an address; `before_id` the id of a line, to go on below it. Balance and lines are of one
    instant. Raises: OperatorError when there is no such user; the database's errors.
    """
    engine = create_engine(database_url, pool_size=1, max_overflow=0, application_name="sharedjox-operator")
    try:
        async with (
            engine.connect() as connection,
            driver_of(connection).transaction(isolation="repeatable_read", readonly=True),
        ):
            user_id, email, role = await _find(connection, user)
            wallet = await find_wallet(connection, user_id)
            found = await wallet_statement(connection, user_id, before_id=before_id, limit=limit)
    finally:
        await engine.dispose()
    lines, is_more = found[:limit], len(found) > limit
    if as_json:
        return "\n".join(map(as_json_line, lines))
    shown = [f"user {user_id} ({email}, {role}): {_balances(wallet)}"]
    if before_id is None and (lines[0].balance_cents if lines else 0) != wallet.balance_cents:
        shown.append("the newest line says otherwise: `sharedjox ledger check`")
    shown.append(_table(lines) if lines else "no movements")
    if is_more:
        shown.append(f"… older lines: --before {lines[-1].id}")
    return "\n".join(shown)


async def _find(connection: AsyncConnection, user: str) -> tuple[int, str, str]:
    if "@" in user:
        row = await _BY_EMAIL.first(connection, user=normalize_email(user))
    elif user.isascii() and user.isdigit() and int(user) <= BIGINT_MAX:
        row = await _BY_ID.first(connection, user=int(user))
    else:
        row = None
    if row is None:
        msg = f"no user is {user}: give the id or the e-mail address of an account"
        raise OperatorError(msg)
    user_id, email, role = row
    return user_id, email, role


def _balances(wallet: Wallet) -> str:
    return (
        f"balance {_money(wallet.balance_cents)}, available {_money(wallet.available_cents)},"
        f" held {_money(wallet.held_cents)}"
    )


def _table(lines: Sequence[StatementLine]) -> str:
    return table(
        _HEADS,
        [
            [
                line.id,
                f"{line.created_at:%Y-%m-%d %H:%M:%S}",
                line.type,
                _money(line.amount_cents),
                f"{money_from_cents(line.change_cents):+.2f}",
                _money(line.balance_cents),
                _money(line.available_cents),
                _money(line.held_cents),
                _or_nothing(line.job_id),
                _or_nothing(line.transaction_id),
            ]
            for line in lines
        ],
    )


def _money(cents: int) -> str:
    return f"{money_from_cents(cents):.2f}"


def _or_nothing(number: int | None) -> int | str:
    return "" if number is None else number


def as_json_line(line: StatementLine) -> str:
    """A line as `GET /api/wallet/statement` gives it to the wallet's owner."""
    return encode_json_text(
        {
            "id": line.id,
            "type": line.type,
            "amount": money_from_cents(line.amount_cents),
            "change": money_from_cents(line.change_cents),
            "availableChange": money_from_cents(line.available_change_cents),
            "heldChange": money_from_cents(line.held_change_cents),
            "balance": money_from_cents(line.balance_cents),
            "availableBalance": money_from_cents(line.available_cents),
            "heldBalance": money_from_cents(line.held_cents),
            "transactionId": line.transaction_id,
            "jobId": line.job_id,
            "createdAt": line.created_at,
        }
    )
