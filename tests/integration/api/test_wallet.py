"""Money: the seed's example, deposits and withdrawals, who may decide, and releases by time."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt

import pytest
from sharedjox_marketplace.wallet.actions import ReleaseDueEarnings

from .harness import Api, Person


async def _total(api: Api) -> int:
    ((total,),) = await api.sql("SELECT coalesce(sum(amount_cents), 0) FROM ledger_entries")
    return int(total)


@pytest.mark.parametrize("decision", ["confirm", "reject"])
async def test_only_entitled_users_decide_transactions(api: Api, decision: str) -> None:
    client, freelancer = await api.parties()
    stranger = await api.person("client")
    await api.completed_job(client, freelancer)
    earning = await api.pending(freelancer, "job_earning")
    deposit = (await api.ok(client, "/api/wallet/deposits", {"amount": 5}))["id"]
    for person, transaction in ((freelancer, earning), (stranger, earning), (client, deposit), (stranger, deposit)):
        refused = await api.post(person, f"/api/wallet/transactions/{transaction}/{decision}")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await api.post(None, f"/api/wallet/transactions/{earning}/{decision}")).status_code == 401
    missing = await api.post(client, f"/api/wallet/transactions/99999/{decision}")
    assert (missing.status_code, missing.json()["code"]) == (404, "transaction-not-found")


async def test_wallets_and_transactions_of_others_are_not_shown(api: Api) -> None:
    client, freelancer = await api.parties()
    await api.ok(client, "/api/wallet/deposits", {"amount": 5})
    assert (await api.get(freelancer, "/api/wallet/transactions")).json()["items"] == []
    refused = await api.get(freelancer, "/api/wallet/transactions", scope="all")
    assert refused.status_code == 403
    operator = await api.person("operator")
    assert len((await api.get(operator, "/api/wallet/transactions", scope="all")).json()["items"]) == 2


async def test_the_architecture_documents_example(api: Api) -> None:
    """Wallet 100.00, a job from 50.00, fee 10 %: the earning is 45.00 and the new balance 145.00."""
    client, _ = await api.parties()
    freelancer = await api.person("freelancer", cents=100_00, skills=["react", "typescript"])
    job_id = await api.completed_job(client, freelancer)
    assert await api.wallet(freelancer) == {"balance": 100, "availableBalance": 100, "heldBalance": 0}
    earning = await api.pending(freelancer, "job_earning")
    confirmed = await api.ok(client, f"/api/wallet/transactions/{earning}/confirm")
    assert (confirmed["type"], confirmed["status"], confirmed["amount"], confirmed["jobId"]) == (
        "job_earning",
        "confirmed",
        45,
        job_id,
    )
    assert await api.wallet(freelancer) == {"balance": 145, "availableBalance": 145, "heldBalance": 0}
    assert await api.wallet(client) == {"balance": 950, "availableBalance": 950, "heldBalance": 0}
    assert (await api.sql("SELECT balance_cents FROM ledger_accounts WHERE kind = 'platform'"))[0][0] == 5_00
    paid, earned = (await api.events("wallet.updated"))[-2:]
    assert (paid[1], paid[2]["transactionType"], paid[2]["amount"], paid[2]["newBalance"]) == (
        f"private-user.{client.id}",
        "job_payment",
        50,
        950,
    )
    assert earned == (
        "wallet.updated",
        f"private-user.{freelancer.id}",
        {
            "userId": freelancer.id,
            "newBalance": 145,
            "availableBalance": 145,
            "transactionType": "job_earning",
            "amount": 45,
            "timestamp": confirmed["confirmedAt"],
        },
    )
    again = await api.post(client, f"/api/wallet/transactions/{earning}/confirm")
    assert (again.status_code, again.json()["code"]) == (409, "transaction-not-pending")
    assert await _total(api) == 0


async def test_confirming_the_payment_confirms_the_earning(api: Api) -> None:
    client, freelancer = await api.parties()
    await api.completed_job(client, freelancer)
    payment = await api.pending(client, "job_payment")
    await api.ok(client, f"/api/wallet/transactions/{payment}/confirm")
    assert (await api.wallet(freelancer))["balance"] == 45
    statuses = await api.sql("SELECT type, status FROM transactions WHERE type LIKE 'job%' ORDER BY type")
    assert [tuple(row) for row in statuses] == [("job_earning", "confirmed"), ("job_payment", "confirmed")]


async def test_many_confirmations_at_once_pay_once(api: Api) -> None:
    client, freelancer = await api.parties()
    operator = await api.person("operator")
    await api.completed_job(client, freelancer)
    earning = await api.pending(freelancer, "job_earning")
    async with asyncio.TaskGroup() as group:
        tries = [
            group.create_task(api.post(who, f"/api/wallet/transactions/{earning}/confirm"))
            for who in (client, operator) * 5
        ]
    assert collections.Counter(one.result().status_code for one in tries) == {200: 1, 409: 9}
    assert (await api.wallet(freelancer))["balance"] == 45


async def test_rejected_earning_frees_the_held_money(api: Api) -> None:
    client, freelancer = await api.parties()
    operator = await api.person("operator")
    await api.completed_job(client, freelancer)
    earning = await api.pending(freelancer, "job_earning")
    rejected = await api.ok(operator, f"/api/wallet/transactions/{earning}/reject")
    assert (rejected["status"], rejected["confirmedAt"]) == ("rejected", None)
    assert await api.wallet(client) == {"balance": 1000, "availableBalance": 1000, "heldBalance": 0}
    assert (await api.wallet(freelancer))["balance"] == 0


async def _decide(api: Api, person: Person, kind: str, decision: str, amount: float) -> None:
    operator = await api.person("operator")
    requested = await api.ok(person, f"/api/wallet/{kind}s", {"amount": amount})
    await api.ok(operator, f"/api/wallet/transactions/{requested['id']}/{decision}")


async def test_deposit_counts_once_it_is_confirmed(api: Api) -> None:
    client = await api.person("client")
    requested = await api.ok(client, "/api/wallet/deposits", {"amount": 12.34})
    assert (requested["type"], requested["status"], requested["amount"]) == ("deposit", "pending", 12.34)
    assert await api.events("wallet.updated") == []
    await _decide(api, client, "deposit", "confirm", 0.01)
    await _decide(api, client, "deposit", "reject", 500)
    assert await api.wallet(client) == {"balance": 0.01, "availableBalance": 0.01, "heldBalance": 0}


async def test_withdrawal_holds_at_once_and_leaves_when_confirmed(api: Api) -> None:
    client = await api.person("client", cents=100_00)
    refused = await api.post(client, "/api/wallet/withdrawals", {"amount": 100.01})
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient-funds")
    requested = await api.ok(client, "/api/wallet/withdrawals", {"amount": 30})
    assert await api.wallet(client) == {"balance": 100, "availableBalance": 70, "heldBalance": 30}
    operator = await api.person("operator")
    await api.ok(operator, f"/api/wallet/transactions/{requested['id']}/confirm")
    assert await api.wallet(client) == {"balance": 70, "availableBalance": 70, "heldBalance": 0}
    await _decide(api, client, "withdrawal", "reject", 20)
    assert await api.wallet(client) == {"balance": 70, "availableBalance": 70, "heldBalance": 0}
    kinds = [payload["transactionType"] for _, _, payload in await api.events("wallet.updated")]
    assert kinds == ["deposit", "withdrawal", "withdrawal", "withdrawal", "release"]


async def test_operators_have_no_wallet_to_fill(api: Api) -> None:
    operator = await api.person("operator")
    assert (await api.post(operator, "/api/wallet/deposits", {"amount": 1})).status_code == 403
    assert (await api.post(operator, "/api/wallet/withdrawals", {"amount": 1})).status_code == 403


async def test_unconfirmed_earnings_are_released_when_due_and_once(api: Api) -> None:
    client, freelancer = await api.parties()
    await api.completed_job(client, freelancer)
    release = ReleaseDueEarnings(api.runtime.transactor)
    now = api.runtime.clock.now()
    assert await release(now + dt.timedelta(hours=71)) == 0
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(release(now + dt.timedelta(hours=73))) for _ in range(3)]
    assert sum(worker.result() for worker in workers) == 1
    assert (await api.wallet(freelancer))["balance"] == 45
    (row,) = await api.sql(
        "SELECT actor_id, action FROM audit_log WHERE action = 'transaction.confirmed'"
        " AND facts->>'type' = 'job_earning'"
    )
    assert row.actor_id is None


async def test_transactions_are_paged_newest_first(api: Api) -> None:
    client = await api.person("client")
    ids = [(await api.ok(client, "/api/wallet/deposits", {"amount": 1}))["id"] for _ in range(5)]
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(3):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get(client, "/api/wallet/transactions", **query)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert (seen, cursor) == (ids[::-1], None)
