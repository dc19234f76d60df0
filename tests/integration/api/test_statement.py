"""Statements: every movement once, with the balances that the ledger says stood after it, whoever posts meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sharedjox_marketplace.prepared import driver_of
from sharedjox_marketplace.wallet.statement import wallet_statement

from .harness import Api, Person

LEDGER_SUMS = """
SELECT e.id, e.transfer_id, sum(o.amount_cents) AS balance,
       coalesce(sum(o.amount_cents) FILTER (WHERE b.kind = 'available'), 0) AS available
FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
JOIN ledger_accounts b ON b.user_id = a.user_id
JOIN ledger_entries o ON o.account_id = b.id AND o.transfer_id <= e.transfer_id
WHERE a.user_id = :user GROUP BY e.id ORDER BY e.id
"""
"""For each entry of a wallet what all entries up to its transfer add up to."""
MANY_TRANSFERS = """
WITH people AS (
  INSERT INTO users (email, name, role, password_hash, created_at)
  SELECT n || '@many.test', 'x', 'client', 'x', now() FROM generate_series(1, 3000) n RETURNING id
), accounts AS (
  INSERT INTO ledger_accounts (user_id, kind)
  SELECT id, kind FROM people, (VALUES ('available'), ('held')) k (kind) ORDER BY id
  RETURNING id
), money AS (
  INSERT INTO transactions (user_id, type, status, amount_cents, created_at, confirmed_at)
  SELECT user_id, 'deposit', 'confirmed', 1, now(), now()
  FROM (SELECT id FROM people ORDER BY id LIMIT 100) AS p (user_id), generate_series(1, 200)
  RETURNING id
), transfers AS (
  INSERT INTO ledger_transfers (transaction_id, created_at) SELECT id, now() FROM money ORDER BY random() RETURNING id
)
INSERT INTO ledger_entries (transfer_id, account_id, amount_cents, balance_after_cents)
SELECT id, side.account, side.sign, 0
FROM (SELECT id, row_number() OVER () AS n FROM transfers) t,
LATERAL (VALUES ((SELECT min(id) FROM accounts) + n % 200, 1), (1, -1)) AS side (account, sign)
"""


async def _pages(api: Api, person: Person, limit: int) -> list[dict[str, Any]]:
    """A whole statement, page by page, newest first."""
    lines: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        answer = await api.get(person, "/api/wallet/statement", **query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        lines += page["items"]
        if page["nextCursor"] is None:
            return lines
        query["cursor"] = page["nextCursor"]


def _cents(amount: float) -> int:
    return round(amount * 100)


async def _assert_true(api: Api, person: Person, limit: int = 100) -> list[dict[str, Any]]:
    """The statement says what the ledger adds up to at each line, and ends in the wallet; returns it."""
    lines = await _pages(api, person, limit)
    sums = {row.id: row for row in await api.sql(LEDGER_SUMS, user=person.id)}
    transfers = {row.transfer_id for row in sums.values()}
    assert len(lines) == len(transfers) == len({sums[line["id"]].transfer_id for line in lines})
    before = {"balance": 0, "availableBalance": 0, "heldBalance": 0}
    for line in reversed(lines):
        assert _cents(line["balance"]) == sums[line["id"]].balance
        assert _cents(line["availableBalance"]) == sums[line["id"]].available
        for change, balance in (
            ("change", "balance"),
            ("availableChange", "availableBalance"),
            ("heldChange", "heldBalance"),
        ):
            assert _cents(line[balance]) == _cents(before[balance]) + _cents(line[change])
        before = line
    assert {name: before[name] for name in ("balance", "availableBalance", "heldBalance")} == await api.wallet(person)
    own = await api.get(person, "/api/wallet/transactions", limit=100)
    assert {line["transactionId"] for line in lines} <= {one["id"] for one in own.json()["items"]}
    return lines


async def _whole_life(api: Api) -> tuple[Person, Person, int]:
    """A deposit, a job paid, one released, withdrawals of both ends; returns client, freelancer and the paid job."""
    client, freelancer = await api.parties()
    operator = await api.person("operator")
    paid = await api.completed_job(client, freelancer)
    earning = await api.pending(freelancer, "job_earning")
    await api.ok(client, f"/api/wallet/transactions/{earning}/confirm")
    released = await api.claimed_job(client, freelancer)
    await api.move(freelancer, released, "active")
    for decision in ("confirm", "reject"):
        asked = await api.ok(client, "/api/wallet/withdrawals", {"amount": 12.34})
        await api.ok(operator, f"/api/wallet/transactions/{asked['id']}/{decision}")
    await api.ok(client, "/api/wallet/deposits", {"amount": 7})
    return client, freelancer, paid


async def test_every_movement_is_on_it_with_the_balances_after_it(api: Api) -> None:
    client, freelancer, paid = await _whole_life(api)
    lines = await _assert_true(api, client)
    columns = ("type", "amount", "change", "balance", "availableBalance", "heldBalance")
    assert [tuple(line[column] for column in columns) for line in reversed(lines)] == [
        ("deposit", 1000, 1000, 1000, 1000, 0),
        ("hold", 50, 0, 1000, 950, 50),
        ("job_payment", 50, -50, 950, 950, 0),
        ("hold", 50, 0, 950, 900, 50),
        ("release", 50, 0, 950, 950, 0),
        ("withdrawal", 12.34, 0, 950, 937.66, 12.34),
        ("withdrawal", 12.34, -12.34, 937.66, 937.66, 0),
        ("withdrawal", 12.34, 0, 937.66, 925.32, 12.34),
        ("release", 12.34, 0, 937.66, 937.66, 0),
    ]
    told = [payload for _, channel, payload in await api.events("wallet.updated") if str(client.id) in channel]
    assert [(line["type"], line["amount"], line["balance"]) for line in reversed(lines)] == [
        (event["transactionType"], event["amount"], event["newBalance"]) for event in told
    ]
    (earned,) = await _assert_true(api, freelancer)
    assert (earned["type"], earned["change"], earned["jobId"]) == ("job_earning", 45, paid)


async def test_nobody_sees_lines_of_others(api: Api) -> None:
    client, freelancer, _ = await _whole_life(api)
    stranger, operator = await api.person("client", cents=5), await api.person("operator")
    ids = {
        who: {(line["id"], line["transactionId"]) for line in await _pages(api, person, 100)}
        for who, person in (("client", client), ("freelancer", freelancer), ("stranger", stranger))
    }
    assert [len(lines) for lines in ids.values()] == [9, 1, 1]
    for column in (0, 1):
        together = [one for lines in ids.values() for one in {line[column] for line in lines}]
        assert len(together) == len(set(together))
    assert await _pages(api, operator, 100) == []
    # A cursor only says where a page begins: one of somebody else's opens nothing.
    foreign = (await api.get(client, "/api/wallet/statement", limit=2)).json()["nextCursor"]
    got = (await api.get(stranger, "/api/wallet/statement", cursor=foreign)).json()["items"]
    assert {line["id"] for line in got} <= {line for line, _ in ids["stranger"]}


async def _busy_hour(api: Api, client: Person, freelancers: list[Person], operator: Person) -> None:
    """Deposits, withdrawals, claims and releases of one wallet, all at once."""

    async def deposit() -> None:
        asked = await api.ok(client, "/api/wallet/deposits", {"amount": 3})
        await api.ok(operator, f"/api/wallet/transactions/{asked['id']}/confirm")

    async def withdraw(decision: str) -> None:
        asked = await api.ok(client, "/api/wallet/withdrawals", {"amount": 2})
        await api.ok(operator, f"/api/wallet/transactions/{asked['id']}/{decision}")

    async def claim_and_release(freelancer: Person) -> None:
        job_id = await api.claimed_job(client, freelancer)
        await api.move(freelancer, job_id, "active")

    async with asyncio.TaskGroup() as group:
        for freelancer in freelancers:
            group.create_task(deposit())
            group.create_task(withdraw("confirm"))
            group.create_task(withdraw("reject"))
            group.create_task(claim_and_release(freelancer))


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_pages_have_no_holes_while_the_wallet_is_busy(api: Api, limit: int) -> None:
    client = await api.person("client", cents=100_000)
    freelancers = [await api.person("freelancer") for _ in range(4)]
    operator = await api.person("operator")
    await _busy_hour(api, client, freelancers, operator)
    busy = asyncio.create_task(_busy_hour(api, client, freelancers, operator))
    readings: list[list[dict[str, Any]]] = []
    while not busy.done() or not readings:
        readings.append(await _pages(api, client, limit))
    await busy
    whole = await _assert_true(api, client, limit)
    assert len(whole) == 1 + 2 * 4 * 7
    for lines in readings:
        assert lines == [line for line in whole if line["id"] <= lines[0]["id"]]
    assert len(readings[0]) < len(whole)


async def test_a_page_is_one_statement_that_reads_by_index(api: Api) -> None:
    """Explained among 20,000 transfers of 100 wallets: the plan does not grow with the ledger or the page."""
    async with api.runtime.reading_engine.connect() as connection, driver_of(connection).transaction():
        # Without triggers, which would take half a minute.
        await driver_of(connection).execute("SET LOCAL session_replication_role = replica")
        await driver_of(connection).execute(MANY_TRANSFERS)
    async with api.runtime.reading_engine.connect() as connection:
        driver = driver_of(connection)
        await driver.execute("ANALYZE")
        user_id = await driver.fetchval("SELECT max(user_id) FROM transactions")
        seen: list[tuple[str, list[object]]] = []
        with driver.query_logger(lambda record: seen.append((record.query, list(record.args)))):
            found = await wallet_statement(connection, user_id, before_id=None, limit=100)
            await asyncio.sleep(0)  # the logger is called with the loop's next turn
        assert len(found) == 101
        ((query, arguments),) = seen
        rows = await driver.fetch(f"EXPLAIN ANALYZE {query}", *arguments)
    plan = "\n".join(row[0] for row in rows)
    for table in ("ledger_entries", "ledger_transfers", "ledger_accounts", "transactions"):
        assert f"Seq Scan on {table}" not in plan, plan
