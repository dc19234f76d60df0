"""`sharedjox wallet statement` on the wallets of a real database, after a job was paid through the api."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.api.harness import Api, Person, make_settings, open_api
from tests.support.operator import Said, sharedjox

NOWHERE = "postgresql://app@127.0.0.1:1/x"


@pytest.fixture
async def api(postgres_url: str, redis_url: str) -> AsyncIterator[Api]:
    """The api on an empty, migrated database."""
    async with open_api(make_settings(postgres_url, redis_url)) as opened:
        yield opened


async def _statement(postgres_url: str, *arguments: str) -> Said:
    return await sharedjox("wallet", "statement", *arguments, env={"DATABASE_URL": postgres_url})


async def _paid(api: Api) -> tuple[Person, Person, int]:
    """A client whose deposit of 1000.00 paid a job of 50.00, its freelancer and the job."""
    client, freelancer = await api.parties()
    job_id = await api.completed_job(client, freelancer)
    await api.ok(client, f"/api/wallet/transactions/{await api.pending(freelancer, 'job_earning')}/confirm")
    return client, freelancer, job_id


async def test_who_has_no_account_has_no_statement(api: Api, postgres_url: str) -> None:
    client = await api.person("client", cents=500)
    for nobody in ("999999", "99999999999999999999", "nobody@example.test", "' OR 1=1 --", "²"):
        said = await _statement(postgres_url, "--", nobody)
        assert (said.status, said.out) == (1, ""), nobody
        assert said.err.startswith(f"error: no user is {nobody}: ")
    for wrong in (("--limit", "0"), ("--before", "x")):
        said = await _statement(postgres_url, str(client.id), *wrong)
        assert (said.status, said.out) == (2, ""), wrong


async def test_a_database_that_is_away_is_one_line(postgres_url: str) -> None:
    said = await _statement(NOWHERE, "1")
    assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
    assert "`sharedjox doctor` says more" in said.err


async def test_a_balance_is_explained_line_by_line(api: Api, postgres_url: str) -> None:
    client, _, job_id = await _paid(api)
    said = await _statement(postgres_url, str(client.id))
    assert said.status == 0, said.err
    head, names, *lines = said.out.splitlines()
    assert head == f"user {client.id} (client1@example.test, client): balance 950.00, available 950.00, held 0.00"
    assert names.split() == [
        "id",
        "time",
        "kind",
        "amount",
        "change",
        "balance",
        "available",
        "held",
        "job",
        "transaction",
    ]
    # Without id, date and time; a deposit has no job.
    assert [line.split()[3:9] for line in lines] == [
        ["job_payment", "50.00", "-50.00", "950.00", "950.00", "0.00"],
        ["hold", "50.00", "+0.00", "1000.00", "950.00", "50.00"],
        ["deposit", "1000.00", "+1000.00", "1000.00", "1000.00", "0.00"],
    ]
    assert [line.split()[9] for line in lines[:2]] == [str(job_id)] * 2
    assert len(lines[2].split()) == 10


async def test_an_address_finds_the_account_and_json_has_what_the_owner_gets(api: Api, postgres_url: str) -> None:
    _, freelancer, _ = await _paid(api)
    said = await _statement(postgres_url, "Freelancer2@Example.test", "--json")
    assert said.status == 0, said.err
    told = [json.loads(line, parse_float=Decimal) for line in said.out.splitlines()]
    owner = await api.get(freelancer, "/api/wallet/statement")
    assert told == json.loads(owner.text, parse_float=Decimal)["items"]
    assert [line["balance"] for line in told] == [Decimal("45.00")]


async def test_pages_go_on_where_the_last_one_ended(api: Api, postgres_url: str) -> None:
    client, _, _ = await _paid(api)
    user = str(client.id)
    whole = await _statement(postgres_url, user)
    read: list[str] = []
    more: list[str] = []
    for left in (2, 1, 0):
        page = await _statement(postgres_url, user, "--limit", "1", *more)
        lines = page.out.splitlines()
        read.append(lines[2].split()[0])
        assert (len(lines) == 4) == (left > 0)
        more = lines[3].removeprefix("… older lines: ").split() if left else []
    assert read == [line.split()[0] for line in whole.out.splitlines()[2:]]
    after: Any = await _statement(postgres_url, user, "--before", read[-1])
    assert after.out.splitlines()[1:] == ["no movements"]


async def test_a_balance_that_no_line_explains_is_said(api: Api, postgres_url: str) -> None:
    client, _, _ = await _paid(api)
    assert "ledger check" not in (await _statement(postgres_url, str(client.id))).out
    # As only somebody with the triggers out of the way can do it.
    await api.sql(
        "WITH quiet AS (SELECT set_config('session_replication_role', 'replica', true))"
        " UPDATE ledger_accounts SET balance_cents = balance_cents + 1 FROM quiet"
        " WHERE user_id = :user AND kind = 'available'",
        user=client.id,
    )
    said = await _statement(postgres_url, str(client.id))
    assert "balance 950.01" in said.out
    assert "the newest line says otherwise: `sharedjox ledger check`" in said.out
