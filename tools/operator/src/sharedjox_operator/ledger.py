"""`sharedjox ledger check`: whether the books are right, asked of the entries themselves.

Postgres refuses what would make them wrong; this is for the day on which somebody has been at the tables with triggers
switched off, restored a part of a backup, or simply has to sign that the books are right.
"""

from __future__ import annotations

from typing import Final

from sharedjox_outbox.claims import RecordPool

from .findings import Finding, fail, ok

_MOST_SHOWN: Final = 10
_SECONDS: Final = 900.0
"""Every entry is read; a ledger of a hundred million takes minutes."""
_ADVICE: Final = "stop payouts and compare with a backup: docs/operations.md#ledgerwrong"

_CHECKS: Final = {
    "sum of all entries": "SELECT coalesce(sum(amount_cents), 0)::text || ' cents too many' AS wrong"
    " FROM ledger_entries HAVING coalesce(sum(amount_cents), 0) <> 0",
    "transfers": "SELECT 'transfer ' || t.id || ' adds up to ' || coalesce(sum(e.amount_cents), 0) || ' in '"
    " || count(e.id) || ' entries' AS wrong FROM ledger_transfers t LEFT JOIN ledger_entries e ON e.transfer_id = t.id"
    " GROUP BY t.id HAVING coalesce(sum(e.amount_cents), 0) <> 0 OR count(e.id) < 2 ORDER BY t.id",
    "balances": "SELECT a.kind || ' of user ' || coalesce(a.user_id::text, '-') || ' is ' || a.balance_cents"
    " || ', its entries are ' || coalesce(sum(e.amount_cents), 0) AS wrong"
    " FROM ledger_accounts a LEFT JOIN ledger_entries e ON e.account_id = a.id"
    " GROUP BY a.id HAVING a.balance_cents <> coalesce(sum(e.amount_cents), 0) ORDER BY a.id",
    "running balances": "SELECT 'entry ' || id || ' says ' || balance_after_cents || ' and is ' || stood AS wrong FROM"
    " (SELECT id, balance_after_cents, sum(amount_cents) OVER (PARTITION BY account_id ORDER BY id) AS stood"
    "  FROM ledger_entries) AS e WHERE balance_after_cents <> stood ORDER BY id",
    "overdrawn": "SELECT kind || ' of user ' || coalesce(user_id::text, '-') || ' is ' || balance_cents AS wrong"
    " FROM ledger_accounts WHERE kind <> 'external' AND balance_cents < 0 ORDER BY id",
    "held money": "SELECT 'user ' || a.user_id || ' has ' || a.balance_cents || ' held for '"
    " || coalesce(sum(t.amount_cents), 0) AS wrong"
    " FROM ledger_accounts a LEFT JOIN transactions t ON t.user_id = a.user_id"
    " AND ((t.type = 'hold' AND t.settled_at IS NULL) OR (t.type = 'withdrawal' AND t.status = 'pending'))"
    " WHERE a.kind = 'held' GROUP BY a.id HAVING a.balance_cents <> coalesce(sum(t.amount_cents), 0) ORDER BY a.id",
}
"""What must find nothing. Amounts are cents."""


async def check_ledger(pool: RecordPool) -> list[Finding]:
    """One finding a rule, all of one instant; payments go on meanwhile. Raises: asyncpg's errors."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on")
        entries = await connection.fetchval("SELECT count(*) FROM ledger_entries", timeout=_SECONDS)
        found = [ok("entries", f"{entries} read")]
        for what, query in _CHECKS.items():
            wrong = [row["wrong"] for row in await connection.fetch(query, timeout=_SECONDS)]
            shown = ", ".join(wrong[:_MOST_SHOWN]) + (
                f" and {len(wrong) - _MOST_SHOWN} more" * (len(wrong) > _MOST_SHOWN)
            )
            found.append(fail(what, shown, _ADVICE) if wrong else ok(what, "right"))
    return found
