"""A wallet's statement: every movement of its money in the ledger, with the balances that it left.

A line is one transfer as the wallet's two accounts saw it. Whoever posts holds both accounts' row locks until the
commit (`lock_accounts`), so a wallet's entries get their ids in the order in which they commit: nothing appears later
below a line that somebody has seen, and the newest entry of an account up to a line has the balance that stood then.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sharedjox_marketplace.orm import BIGINT_MAX, Record
from sharedjox_marketplace.prepared import Prepared


class StatementLine(Record, frozen=True):
    """One movement. Changes are signed cents, balances are those right after it; `id` is the first entry's.

    `type` is the name that `wallet.updated` gave it. `transaction_id` is the owner's own side: a client sees the
    payment, not the freelancer's earning that settled with it; None for a transaction of somebody else's.
    """

    id: int
    type: str
    transaction_id: int | None
    job_id: int | None
    available_change_cents: int
    held_change_cents: int
    available_cents: int
    held_cents: int
    created_at: dt.datetime

    @property
    def change_cents(self) -> int:
        """By how much the wallet has more than before; zero when money was only held or freed."""
        return self.available_change_cents + self.held_change_cents

    @property
    def amount_cents(self) -> int:
        """What was moved, positive as a transaction's amount."""
        return max(abs(self.available_change_cents), abs(self.held_change_cents))

    @property
    def balance_cents(self) -> int:
        """All of the wallet's money after it."""
        return self.available_cents + self.held_cents


# A transfer has at most one entry on an account, so the newest N of each account hold the newest N transfers whole.
# LIMIT 1 on what is one row anyway: looked up for each line by key, whatever the planner believes of the tables.
_STATEMENT: Final = Prepared(
    text("""
WITH wallet AS (
  SELECT max(id) FILTER (WHERE kind = 'available') AS available, max(id) FILTER (WHERE kind = 'held') AS held
  FROM ledger_accounts WHERE user_id = :user_id
), newest AS (
  SELECT e.* FROM wallet CROSS JOIN LATERAL (
    (SELECT id, transfer_id, amount_cents AS available, 0 AS held FROM ledger_entries
     WHERE account_id = wallet.available AND id < :before_id ORDER BY id DESC LIMIT :count)
    UNION ALL
    (SELECT id, transfer_id, 0, amount_cents FROM ledger_entries
     WHERE account_id = wallet.held AND id < :before_id ORDER BY id DESC LIMIT :count)
  ) AS e
), lines AS (
  SELECT transfer_id, min(id) AS first_id, max(id) AS last_id,
         sum(available)::bigint AS available, sum(held)::bigint AS held
  FROM newest GROUP BY transfer_id ORDER BY first_id DESC LIMIT :count
)
SELECT l.first_id, of.type, of.transaction_id, of.job_id, l.available, l.held,
       coalesce((SELECT e.balance_after_cents FROM ledger_entries e
                 WHERE e.account_id = wallet.available AND e.id <= l.last_id ORDER BY e.id DESC LIMIT 1), 0),
       coalesce((SELECT e.balance_after_cents FROM ledger_entries e
                 WHERE e.account_id = wallet.held AND e.id <= l.last_id ORDER BY e.id DESC LIMIT 1), 0),
       of.created_at
FROM lines l CROSS JOIN wallet CROSS JOIN LATERAL (
  SELECT CASE WHEN t.type = 'withdrawal' AND l.available > 0 THEN 'release' ELSE coalesce(own.type, t.type) END AS type,
         CASE WHEN t.user_id = :user_id THEN t.id ELSE own.id END AS transaction_id, t.job_id, m.created_at
  FROM ledger_transfers m JOIN transactions t ON t.id = m.transaction_id
  LEFT JOIN transactions own ON t.user_id IS DISTINCT FROM :user_id AND own.user_id = :user_id
    AND own.job_id = t.job_id AND own.type = 'job_payment' AND own.status <> 'rejected'
  WHERE m.id = l.transfer_id LIMIT 1
) AS of
ORDER BY l.first_id DESC
""")
)


async def wallet_statement(
    connection: AsyncConnection, user_id: int, *, before_id: int | None, limit: int
) -> list[StatementLine]:
    """Lines of a user's wallet, newest first, ids below `before_id`; one more than `limit` tells of a next page."""
    rows = await _STATEMENT.all(
        connection, user_id=user_id, before_id=BIGINT_MAX if before_id is None else before_id, count=limit + 1
    )
    return [StatementLine(*row) for row in rows]
