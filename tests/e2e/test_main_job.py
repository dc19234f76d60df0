"""The main job, end to end on real parts: what is done over REST appears in stock laravel-echo clients.

The seed document's example comes out to the cent: wallet 100.00, earning 45.00, newBalance 145.00.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.support.node_client import NodeClient, node_client
from tests.support.polling import eventually
from tests.support.stack import Account, Stack

SEED_JOB = {
    "title": "Build React Dashboard",
    "budgetMin": 50,
    "budgetMax": 150,
    "requiredSkills": ["react", "typescript"],
    "estimatedDuration": 120,
}


async def echo_of(stack: Stack, exits: AsyncExitStack, account: Account | None = None) -> NodeClient:
    return await exits.enter_async_context(
        node_client(
            stack.ports.gateway,
            token=account.token if account else None,
            api_port=stack.ports.api if account else None,
        )
    )


async def post(http: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await http.post(path, json=body or {})
    assert answer.is_success, answer.text
    result: dict[str, Any] = answer.json()
    return result


def is_utc(text: str) -> bool:
    return text.endswith("Z") and dt.datetime.fromisoformat(text).tzinfo is dt.UTC


async def test_another_freelancer_an_anonymous_caller_and_an_expired_token_are_refused(stack: Stack) -> None:
    client, freelancer = await stack.log_in("client"), await stack.log_in("freelancer")
    async with client.http() as http:
        job = await post(http, "/api/jobs", SEED_JOB)
    async with AsyncExitStack() as exits:
        other = await echo_of(stack, exits, freelancer)
        for channel in (f"private-job.{job['id']}", f"private-user.{client.id}", "private-ops", "private-nothing.1"):
            assert (await other.try_subscribe(channel))["status"] == 403
        nobody = await exits.enter_async_context(
            node_client(stack.ports.gateway, token="not-a-token", api_port=stack.ports.api)
        )
        assert (await nobody.try_subscribe(f"private-job.{job['id']}"))["status"] == 401
        bare = await exits.enter_async_context(node_client(stack.ports.gateway, api_port=stack.ports.api))
        assert (await bare.try_subscribe(f"private-user.{client.id}"))["status"] == 401
        assert "position" in await bare.subscribe("jobs.discovery")


async def test_the_whole_life_of_a_job_reaches_echo_with_the_seeds_payloads_and_figures(stack: Stack) -> None:
    async with AsyncExitStack() as exits:
        client, freelancer = await stack.log_in("client"), await stack.log_in("freelancer")
        as_client = await exits.enter_async_context(client.http())
        as_freelancer = await exits.enter_async_context(freelancer.http())
        anybody = await echo_of(stack, exits)
        clients_echo = await echo_of(stack, exits, client)
        freelancers_echo = await echo_of(stack, exits, freelancer)
        await anybody.subscribe("jobs.discovery")
        await clients_echo.subscribe(f"private-user.{client.id}")
        await freelancers_echo.subscribe(f"private-user.{freelancer.id}")
        wallet_before = (await as_freelancer.get("/api/wallet")).json()

        job = await post(as_client, "/api/jobs", SEED_JOB)
        posted = await anybody.wait_event("job.posted", channel="jobs.discovery")
        assert is_utc(posted.data["timestamp"])
        assert is_utc(posted.data["job"]["createdAt"])
        assert posted.data == {
            "job": {
                **SEED_JOB,
                "id": job["id"],
                "clientId": client.id,
                "status": "active",
                "createdAt": job["createdAt"],
            },
            "matchScore": 50,
            "timestamp": posted.data["timestamp"],
        }

        private_job = f"private-job.{job['id']}"
        await clients_echo.subscribe(private_job)
        claimed = await post(as_freelancer, f"/api/jobs/{job['id']}/claim")
        assert (claimed["status"], claimed["claimedBy"], claimed["agreedAmount"]) == ("claimed", freelancer.id, 50)
        for channel in (private_job, f"private-user.{client.id}"):
            event = await clients_echo.wait_event("job.claimed", channel=channel)
            assert event.data == {
                "jobId": job["id"],
                "claimedBy": freelancer.id,
                "claimedAt": claimed["claimedAt"],
                "matchScore": event.data["matchScore"],
                "timestamp": event.data["timestamp"],
            }
        assert (await clients_echo.wait_event("job.updated", channel=private_job)).data["status"] == "claimed"
        await freelancers_echo.subscribe(private_job)  # behind that: what it hears of is what comes now

        status = f"/api/jobs/{job['id']}/status"
        deliverables = ["source code", "documentation"]
        await post(as_freelancer, status, {"status": "in_progress"})
        await post(as_freelancer, status, {"status": "submitted", "deliverables": deliverables})
        completed = await post(as_client, status, {"status": "completed"})
        assert completed["deliverables"] == deliverables
        event = await freelancers_echo.wait_event("job.updated", channel=private_job, count=3)
        assert event.data == {
            "jobId": job["id"],
            "status": "completed",
            "deliverables": deliverables,
            "updatedAt": completed["updatedAt"],
            "timestamp": event.data["timestamp"],
        }

        earning = await pending_earning(as_freelancer, job["id"])
        assert earning["amount"] == 45
        await post(as_client, f"/api/wallet/transactions/{earning['id']}/confirm")
        updated = await freelancers_echo.wait_event("wallet.updated", channel=f"private-user.{freelancer.id}")
        assert (wallet_before["balance"], wallet_before["availableBalance"]) == (100, 100)
        assert updated.data == {
            "userId": freelancer.id,
            "newBalance": 145,
            "availableBalance": 145,
            "transactionType": "job_earning",
            "amount": 45,
            "timestamp": updated.data["timestamp"],
        }
        wallet = (await as_freelancer.get("/api/wallet")).json()
        assert (wallet["balance"], wallet["availableBalance"], wallet["heldBalance"]) == (145, 145, 0)
        assert [one.event for one in anybody.events] == ["job.posted"]


async def pending_earning(http: httpx.AsyncClient, job_id: int) -> dict[str, Any]:
    transactions = (await http.get("/api/wallet/transactions")).json()["items"]
    (found,) = [
        one
        for one in transactions
        if one["type"] == "job_earning" and one["status"] == "pending" and one["jobId"] == job_id
    ]
    result: dict[str, Any] = found
    return result


async def test_to_others_spares_the_socket_that_caused_the_event(stack: Stack) -> None:
    client = await stack.log_in("client")
    async with AsyncExitStack() as exits:
        http = await exits.enter_async_context(client.http())
        mine, other = await echo_of(stack, exits), await echo_of(stack, exits)
        for echo in (mine, other):
            await echo.subscribe("jobs.discovery")
        assert mine.socket_id is not None
        first = await http.post("/api/jobs", json=SEED_JOB, headers={"X-Socket-ID": mine.socket_id})
        second = await post(http, "/api/jobs", SEED_JOB)
        assert (await other.wait_event("job.posted")).data["job"]["id"] == first.json()["id"]
        await other.wait_event("job.posted", count=2)
        await mine.wait_event("job.posted")
        assert [event.data["job"]["id"] for event in mine.events] == [second["id"]]


async def test_a_hundred_simultaneous_claims_have_one_winner_one_event_one_hold(stack: Stack) -> None:
    client = await stack.log_in("client")
    async with AsyncExitStack() as exits:
        as_client = await exits.enter_async_context(client.http())
        echo = await echo_of(stack, exits, client)
        job = await post(as_client, "/api/jobs", SEED_JOB)
        await echo.subscribe(f"private-job.{job['id']}")
        held_before = (await as_client.get("/api/wallet")).json()["heldBalance"]
        freelancers = [await register_freelancer(stack, number) for number in range(10)]
        claimers = [await exits.enter_async_context(account.http()) for account in freelancers]
        answers = await asyncio.gather(
            *(claimers[number % 10].post(f"/api/jobs/{job['id']}/claim", json={}) for number in range(100))
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200] + [409] * 99
        held = (await as_client.get("/api/wallet")).json()["heldBalance"]
        assert held - held_before == 50
        winner = next(answer.json()["claimedBy"] for answer in answers if answer.status_code == 200)
        assert (await echo.wait_event("job.claimed")).data["claimedBy"] == winner
        # The next event on the channel comes after every repeat that there could be.
        by_winner = claimers[[account.id for account in freelancers].index(winner)]
        await post(by_winner, f"/api/jobs/{job['id']}/status", {"status": "in_progress"})
        await echo.wait_event("job.updated", count=2)
        assert [event.event for event in echo.events] == ["job.claimed", "job.updated", "job.updated"]
        assert [event.data["status"] for event in echo.events[1:]] == ["claimed", "in_progress"]


async def register_freelancer(stack: Stack, number: int) -> Account:
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=30) as http:
        answer = await http.post(
            "/api/auth/register",
            json={
                "name": f"Racer {number}",
                "email": f"racer{number}@example.com",
                "password": "correct horse battery",
                "role": "freelancer",
                "skills": ["react"],
            },
        )
    assert answer.status_code == 201, answer.text
    return Account(stack.api_url, answer.json())


async def test_logging_out_closes_the_sessions_sockets_for_good_and_no_others(stack: Stack) -> None:
    one, two = await stack.log_in("freelancer"), await stack.log_in("freelancer")
    async with AsyncExitStack() as exits:
        leaving, staying = await echo_of(stack, exits, one), await echo_of(stack, exits, two)
        for echo in (leaving, staying):
            await echo.subscribe(f"private-user.{one.id}")
        async with one.http() as http:
            assert (await http.post("/api/auth/logout")).is_success
            assert (await http.get("/api/auth/me")).status_code == 401
        await leaving.wait_state("disconnected", 3)
        assert staying.states[-1] == "connected"


async def test_a_released_job_takes_its_channel_from_the_freelancer_and_a_new_claim_gives_it_back(stack: Stack) -> None:
    client, freelancer = await stack.log_in("client"), await stack.log_in("freelancer")
    async with AsyncExitStack() as exits:
        as_client = await exits.enter_async_context(client.http())
        as_freelancer = await exits.enter_async_context(freelancer.http())
        job = await post(as_client, "/api/jobs", SEED_JOB)
        channel = f"private-job.{job['id']}"
        pusher = await exits.enter_async_context(
            node_client(stack.ports.gateway, token=freelancer.token, api_port=stack.ports.api, library="pusher")
        )
        await post(as_freelancer, f"/api/jobs/{job['id']}/claim")
        await pusher.subscribe(channel)
        await post(as_freelancer, f"/api/jobs/{job['id']}/status", {"status": "active"})
        await eventually(lambda: channel in pusher.refused, 3, what="the channel was taken away")
        await pusher.send("unsubscribe", channel=channel)
        pusher.refused.clear()
        assert (await pusher.try_subscribe(channel))["status"] == 403
        await pusher.send("unsubscribe", channel=channel)
        await post(as_freelancer, f"/api/jobs/{job['id']}/claim")
        await pusher.subscribe(channel)
        await post(as_freelancer, f"/api/jobs/{job['id']}/status", {"status": "in_progress"})

        def statuses() -> list[str]:
            seen = [event.data["status"] for event in pusher.events if event.event == "job.updated"]
            # What announces a claim may leave before or after the subscription that the claim allows.
            return [status for status in seen if status != "claimed"]

        await eventually(lambda: statuses()[-1:] == ["in_progress"], what="the channel delivers again")
        assert statuses() == ["active", "in_progress"], "its own release was the last it saw before"


@pytest.mark.parametrize("library", ["echo", "pusher"])
async def test_whispers_reach_the_other_party_and_not_the_sender(stack: Stack, library: str) -> None:
    client, freelancer = await stack.log_in("client"), await stack.log_in("freelancer")
    async with AsyncExitStack() as exits:
        as_client = await exits.enter_async_context(client.http())
        as_freelancer = await exits.enter_async_context(freelancer.http())
        job = await post(as_client, "/api/jobs", SEED_JOB)
        await post(as_freelancer, f"/api/jobs/{job['id']}/claim")
        channel = f"private-job.{job['id']}"
        here = await exits.enter_async_context(
            node_client(stack.ports.gateway, token=client.token, api_port=stack.ports.api, library=library)  # type: ignore[arg-type]  # one of the two
        )
        there = await echo_of(stack, exits, freelancer)
        await here.subscribe(channel)
        await there.subscribe(channel)
        await here.send("trigger", channel=channel, event="client-typing", data={"name": "Ada"})
        assert (await there.wait_event("client-typing")).data == {"name": "Ada"}
        await there.send("trigger", channel=channel, event="client-typing", data={"name": "Bob"})
        assert (await here.wait_event("client-typing")).data == {"name": "Bob"}
        assert [event.data["name"] for event in here.events if event.event == "client-typing"] == ["Bob"]
