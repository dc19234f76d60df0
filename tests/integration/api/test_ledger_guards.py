"""What the database refuses by itself, whatever the code above it does."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from .harness import Api

TAMPERING = {
    "an entry is edited": "UPDATE ledger_entries SET amount_cents = amount_cents * 2",
    "an entry is deleted": "DELETE FROM ledger_entries",
    "entries are truncated": "TRUNCATE ledger_entries",
    "a transfer is edited": "UPDATE ledger_transfers SET created_at = now()",
    "a transfer is deleted": "DELETE FROM ledger_transfers",
    "a balance is raised": "UPDATE ledger_accounts SET balance_cents = balance_cents + 1 WHERE kind = 'available'",
    "a balance is negative": "UPDATE ledger_accounts SET balance_cents = -1 WHERE kind = 'available'",
    "an account changes hands": "UPDATE ledger_accounts SET user_id = NULL, kind = 'external' WHERE kind = 'held'",
    "an account is deleted": "DELETE FROM ledger_accounts WHERE kind = 'held'",
    "an account is born rich": "INSERT INTO ledger_accounts (kind, user_id, balance_cents) VALUES ('x', 1, 5)",
    "the audit log is edited": "UPDATE audit_log SET actor_id = NULL",
    "the audit log is cut": "DELETE FROM audit_log",
    "a transfer has one side": (
        "WITH t AS (INSERT INTO ledger_transfers (transaction_id, created_at)"
        " SELECT min(id), now() FROM transactions RETURNING id)"
        " INSERT INTO ledger_entries (transfer_id, account_id, amount_cents)"
        " SELECT t.id, a.id, 100 FROM t, ledger_accounts a WHERE a.kind = 'available'"
    ),
    "a transfer has no side": (
        "INSERT INTO ledger_transfers (transaction_id, created_at) SELECT min(id), now() FROM transactions"
    ),
    "an old transfer gets more": (
        "INSERT INTO ledger_entries (transfer_id, account_id, amount_cents)"
        " SELECT max(t.id), 1, -100 FROM ledger_transfers t"
    ),
    "an account is overdrawn": (
        "WITH t AS (INSERT INTO ledger_transfers (transaction_id, created_at)"
        " SELECT min(id), now() FROM transactions RETURNING id)"
        " INSERT INTO ledger_entries (transfer_id, account_id, amount_cents)"
        " SELECT t.id, e.account, e.cents FROM t, (SELECT id AS account, -999999 AS cents FROM ledger_accounts"
        "  WHERE kind = 'available' UNION ALL SELECT 1, 999999) AS e"
    ),
    "an amount is zero": "UPDATE transactions SET amount_cents = 0",
    "a claim is half undone": "UPDATE jobs SET claimed_by = NULL",
    "an active job is claimed": "UPDATE jobs SET status = 'active'",
    "a job is held twice": (
        "INSERT INTO transactions (user_id, type, status, amount_cents, job_id, created_at, confirmed_at)"
        " SELECT user_id, type, status, amount_cents, job_id, created_at, confirmed_at FROM transactions"
        " WHERE type = 'hold'"
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_the_database_refuses(api: Api, what: str) -> None:
    client, freelancer = await api.parties()
    await api.claimed_job(client, freelancer)
    before = await api.sql("SELECT * FROM ledger_accounts ORDER BY id")
    with pytest.raises(DBAPIError) as refused:
        await api.sql(TAMPERING[what])
    assert isinstance(refused.value, IntegrityError) or "append-only" in str(refused.value)
    assert await api.sql("SELECT * FROM ledger_accounts ORDER BY id") == before


async def test_balances_equal_their_entries(api: Api) -> None:
    client, freelancer = await api.parties()
    await api.completed_job(client, freelancer)
    await api.ok(client, f"/api/wallet/transactions/{await api.pending(client, 'job_payment')}/confirm")
    wrong = await api.sql(
        "SELECT a.id FROM ledger_accounts a LEFT JOIN ledger_entries e ON e.account_id = a.id"
        " GROUP BY a.id HAVING a.balance_cents <> coalesce(sum(e.amount_cents), 0)"
    )
    assert wrong == []
    last = await api.sql(
        "SELECT DISTINCT ON (account_id) balance_after_cents, balance_cents FROM ledger_entries"
        " JOIN ledger_accounts a ON a.id = account_id ORDER BY account_id, ledger_entries.id DESC"
    )
    assert last
    assert all(row.balance_after_cents == row.balance_cents for row in last)
