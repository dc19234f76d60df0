"""Idempotency keys: the first answer again, stored with the state it tells of."""

from __future__ import annotations

import asyncio

import pytest

from .harness import JOB, Api


async def test_keys_do_not_cross_users(api: Api) -> None:
    one, other = await api.person("client"), await api.person("client")
    first = await api.post(one, "/api/jobs", JOB, idempotency_key="same")
    second = await api.post(other, "/api/jobs", JOB, idempotency_key="same")
    assert first.json()["clientId"] == one.id
    assert second.json()["clientId"] == other.id


async def test_the_same_request_gets_the_first_answer(api: Api) -> None:
    client, freelancer = await api.parties()
    first = await api.post(client, "/api/jobs", JOB, idempotency_key="k1")
    again = await api.post(client, "/api/jobs", JOB, idempotency_key="k1")
    assert (again.status_code, again.content, again.headers["etag"]) == (201, first.content, first.headers["etag"])
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await api.events("job.posted")) == 1
    path = f"/api/jobs/{first.json()['id']}/claim"
    claims = [await api.post(freelancer, path, idempotency_key="k1") for _ in range(2)]
    assert [claim.status_code for claim in claims] == [200, 200]
    assert len(await api.sql("SELECT 1 FROM transactions WHERE type = 'hold'")) == 1


async def test_another_request_with_the_key_is_refused(api: Api) -> None:
    client, _ = await api.parties()
    await api.post(client, "/api/jobs", JOB, idempotency_key="k1")
    body = await api.post(client, "/api/jobs", JOB | {"title": "Other"}, idempotency_key="k1")
    path = await api.post(client, "/api/wallet/deposits", {"amount": 1}, idempotency_key="k1")
    for refused in (body, path):
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_refusal_is_repeated_too(api: Api) -> None:
    client = await api.person("client", cents=10_00)
    refused = await api.post(client, "/api/wallet/withdrawals", {"amount": 50}, idempotency_key="k")
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient-funds")
    deposit = (await api.ok(client, "/api/wallet/deposits", {"amount": 100}))["id"]
    await api.ok(await api.person("operator"), f"/api/wallet/transactions/{deposit}/confirm")
    again = await api.post(client, "/api/wallet/withdrawals", {"amount": 50}, idempotency_key="k")
    assert (again.status_code, again.content) == (409, refused.content)
    assert (await api.post(client, "/api/wallet/withdrawals", {"amount": 50}, idempotency_key="k2")).status_code == 201


async def test_simultaneous_twins_act_once(api: Api) -> None:
    client = await api.person("client", cents=100_00)
    async with asyncio.TaskGroup() as group:
        twins = [
            group.create_task(api.post(client, "/api/wallet/withdrawals", {"amount": 1}, idempotency_key="twin"))
            for _ in range(10)
        ]
    answers = {twin.result().content for twin in twins}
    assert len(answers) == 1
    assert {twin.result().status_code for twin in twins} == {201}
    assert (await api.wallet(client))["heldBalance"] == 1


async def test_keys_end_after_a_day(api: Api) -> None:
    client = await api.person("client")
    first = await api.post(client, "/api/wallet/deposits", {"amount": 1}, idempotency_key="k")
    await api.sql("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
    later = await api.post(client, "/api/wallet/deposits", {"amount": 2}, idempotency_key="k")
    assert later.status_code == 201
    assert later.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_odd_keys_are_refused(api: Api, key: str) -> None:
    client = await api.person("client")
    headers = [*client.headers.items(), ("Idempotency-Key", key)]
    refused = await api.http.post("/api/wallet/deposits", json={"amount": 1}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed-header")


async def test_logout_with_a_key_can_be_repeated(api: Api) -> None:
    client = await api.person("client")
    answers = [await api.post(client, "/api/auth/logout", idempotency_key="bye") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 204]
