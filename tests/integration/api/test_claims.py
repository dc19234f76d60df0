"""Who gets a job when many want it, and what that does to the client's wallet."""

from __future__ import annotations

import asyncio
import collections
from pathlib import Path

import httpx
from sharedjox_devstack.ports import free_port

from tests.support.processes import ServiceProcess, python_module, running

from .harness import Api

CLAIMERS = 100


async def test_claim_is_refused_to_clients_and_strangers(api: Api) -> None:
    client, _ = await api.parties()
    job_id = await api.job(client)
    assert (await api.post(None, f"/api/jobs/{job_id}/claim")).status_code == 401
    refused = await api.post(client, f"/api/jobs/{job_id}/claim")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    operator = await api.person("operator")
    assert (await api.post(operator, f"/api/jobs/{job_id}/claim")).status_code == 403
    assert await api.events("job.claimed") == []


async def test_claim_is_refused_without_funds_and_changes_nothing(api: Api) -> None:
    client, freelancer = await api.parties(cents=49_99)
    job_id = await api.job(client)
    refused = await api.post(freelancer, f"/api/jobs/{job_id}/claim")
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient-funds")
    assert (await api.get(client, f"/api/jobs/{job_id}")).json()["status"] == "active"
    assert await api.wallet(client) == {"balance": 49.99, "availableBalance": 49.99, "heldBalance": 0}
    assert await api.events("job.claimed", "wallet.updated") == [
        event for event in await api.events("wallet.updated") if event[2]["transactionType"] == "deposit"
    ]


async def test_claim_of_unknown_or_cancelled_job(api: Api) -> None:
    client, freelancer = await api.parties()
    assert (await api.post(freelancer, "/api/jobs/999/claim")).json()["code"] == "job-not-found"
    job_id = await api.job(client)
    await api.move(client, job_id, "cancelled")
    refused = await api.post(freelancer, f"/api/jobs/{job_id}/claim")
    assert (refused.status_code, refused.json()["code"]) == (409, "job-not-active")


async def test_offer_must_lie_within_the_budget(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.job(client)
    for offer in (49.99, 150.01):
        refused = await api.post(freelancer, f"/api/jobs/{job_id}/claim", {"offer": offer})
        assert (refused.status_code, refused.json()["code"]) == (422, "offer-outside-budget")
    claimed = await api.ok(freelancer, f"/api/jobs/{job_id}/claim", {"offer": 75.25})
    assert claimed["agreedAmount"] == 75.25
    assert (await api.wallet(client))["heldBalance"] == 75.25


async def test_claim_records_its_events_with_exact_payloads(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.job(client)
    claimed = await api.ok(freelancer, f"/api/jobs/{job_id}/claim")
    assert (claimed["status"], claimed["claimedBy"], claimed["matchScore"]) == ("claimed", freelancer.id, 100)
    payload = {
        "jobId": job_id,
        "claimedBy": freelancer.id,
        "claimedAt": claimed["claimedAt"],
        "matchScore": 100,
        "timestamp": claimed["claimedAt"],
    }
    assert await api.events("job.claimed") == [
        ("job.claimed", f"private-job.{job_id}", payload),
        ("job.claimed", f"private-user.{client.id}", payload),
    ]
    # A claim is a status change too, told after the event that says who took it.
    told = [event for event in await api.events() if event[1] == f"private-job.{job_id}"]
    assert told[1:] == [
        (
            "job.updated",
            f"private-job.{job_id}",
            {
                "jobId": job_id,
                "status": "claimed",
                "deliverables": [],
                "updatedAt": claimed["claimedAt"],
                "timestamp": claimed["claimedAt"],
            },
        )
    ]
    (_, held) = await api.events("wallet.updated")
    assert held[1] == f"private-user.{client.id}"
    assert held[2] == {
        "userId": client.id,
        "newBalance": 1000,
        "availableBalance": 950,
        "transactionType": "hold",
        "amount": 50,
        "timestamp": claimed["claimedAt"],
    }
    # Leaving "active" takes the presence channel from onlookers.
    assert await api.events("access.changed") == [
        ("access.changed", f"presence-job.{job_id}", {"channel": f"presence-job.{job_id}"})
    ]


async def test_a_hundred_simultaneous_claims_over_http(
    api: Api, postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    client, _ = await api.parties()
    claimers = [await api.person("freelancer", skills=["react"]) for _ in range(CLAIMERS)]
    job_id = await api.job(client)
    port = free_port()
    environment = {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url, "API_PORT": str(port)}
    service = ServiceProcess(
        "api",
        python_module("sharedjox_api.main", "serve"),
        log_file=tmp_path / "api.log",
        env=environment,
        ready_port=port,
    )
    limits = httpx.Limits(max_connections=CLAIMERS)
    with running(service):
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60) as http,
            asyncio.TaskGroup() as group,
        ):
            claims = [
                group.create_task(http.post(f"/api/jobs/{job_id}/claim", headers=claimer.headers))
                for claimer in claimers
            ]
    answers = [claim.result() for claim in claims]
    assert collections.Counter(answer.status_code for answer in answers) == {200: 1, 409: CLAIMERS - 1}
    codes = {answer.json()["code"] for answer in answers if answer.status_code == 409}
    assert codes == {"job-already-claimed"}
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert [payload["claimedBy"] for _, _, payload in await api.events("job.claimed")] == [winner["claimedBy"]] * 2
    assert (
        len(
            {
                row.event_id
                for row in await api.sql("SELECT event_id FROM outbox_messages WHERE event_name = 'job.claimed'")
            }
        )
        == 1
    )
    assert len(await api.sql("SELECT 1 FROM transactions WHERE type = 'hold'")) == 1
    assert await api.wallet(client) == {"balance": 1000, "availableBalance": 950, "heldBalance": 50}


async def test_one_wallet_cannot_be_held_twice_over_by_simultaneous_claims(api: Api) -> None:
    """Two jobs at 50.00 and 60.00 in the wallet: one claim wins, the other finds too little."""
    client, freelancer = await api.parties(cents=60_00)
    jobs = [await api.job(client) for _ in range(6)]
    async with asyncio.TaskGroup() as group:
        claims = [group.create_task(api.post(freelancer, f"/api/jobs/{job}/claim")) for job in jobs]
    codes = collections.Counter(claim.result().json().get("code", "won") for claim in claims)
    assert codes == {"won": 1, "insufficient-funds": 5}
    assert await api.wallet(client) == {"balance": 60, "availableBalance": 10, "heldBalance": 50}
