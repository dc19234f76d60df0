"""`sharedjox ledger check` on the books of a real database: right ones, and ones that somebody has been at."""

from __future__ import annotations

import asyncpg
import pytest
from sharedjox_outbox.postgres import asyncpg_address

from tests.support.operator import sharedjox

BOOKS = """
INSERT INTO users (email, name, role, password_hash, created_at) VALUES ('a@books.test', 'x', 'client', 'x', now());
INSERT INTO ledger_accounts (user_id, kind)
  SELECT id, kind FROM users, (VALUES ('available'), ('held')) AS k (kind) ORDER BY kind;
INSERT INTO transactions (user_id, type, status, amount_cents, created_at, confirmed_at)
  SELECT id, 'deposit', 'confirmed', 500, now(), now() FROM users;
BEGIN;
INSERT INTO ledger_transfers (transaction_id, created_at) SELECT id, now() FROM transactions;
INSERT INTO ledger_entries (transfer_id, account_id, amount_cents, balance_after_cents)
  SELECT t.id, a.id, CASE a.kind WHEN 'external' THEN -500 ELSE 500 END, 0
  FROM ledger_transfers t, ledger_accounts a WHERE a.kind IN ('external', 'available');
COMMIT;
"""
TAMPERED = {
    "money out of nothing": (
        "UPDATE ledger_entries SET amount_cents = 501 WHERE amount_cents = 500",
        "sum of all entries",
    ),
    "an entry is gone": ("DELETE FROM ledger_entries WHERE amount_cents = 500", "transfers"),
    "a balance is raised": ("UPDATE ledger_accounts SET balance_cents = 999 WHERE kind = 'available'", "balances"),
    "a statement is prettier": (
        "UPDATE ledger_entries SET balance_after_cents = 7 WHERE amount_cents = 500",
        "running balances",
    ),
    "held for nothing": ("UPDATE ledger_accounts SET balance_cents = 1 WHERE kind = 'held'", "held money"),
}


async def _check(postgres_url: str) -> tuple[int, str]:
    said = await sharedjox("ledger", "check", env={"DATABASE_URL": postgres_url, "REDIS_URL": "redis://127.0.0.1:1"})
    return said.status, said.out


async def _execute(postgres_url: str, script: str) -> None:
    connection = await asyncpg.connect(asyncpg_address(postgres_url))
    try:
        await connection.execute(script)
    finally:
        await connection.close()


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_somebody_did_to_the_books_is_found(postgres_url: str, what: str) -> None:
    statement, rule = TAMPERED[what]
    await _execute(postgres_url, BOOKS)
    # Constraints and triggers refuse this; so they are out of the way, as they are for who restores or repairs by hand.
    await _execute(postgres_url, f"SET session_replication_role = replica; {statement}")
    status, out = await _check(postgres_url)
    assert status == 1, out
    assert f"FAIL  {rule}: " in out


async def test_right_books_are_called_right(postgres_url: str) -> None:
    await _execute(postgres_url, BOOKS)
    status, out = await _check(postgres_url)
    assert status == 0, out
    assert "FAIL" not in out
    assert "ok    entries: 2 read" in out
