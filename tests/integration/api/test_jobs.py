"""The life of a job over REST: who takes which step, what everybody hears, what lists show."""

from __future__ import annotations

import asyncio
import collections

import pytest

from .harness import JOB, Api, Person

STATUSES = ("active", "claimed", "in_progress", "submitted", "completed", "cancelled")


async def test_only_clients_post_jobs(api: Api) -> None:
    for role in ("freelancer", "operator"):
        refused = await api.post(await api.person(role), "/api/jobs", JOB)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await api.post(None, "/api/jobs", JOB)).status_code == 401
    assert await api.events() == []


async def test_strangers_do_not_move_jobs(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.claimed_job(client, freelancer)
    for stranger in (await api.person("client"), await api.person("freelancer"), await api.person("operator")):
        for status in STATUSES:
            refused = await api.post(stranger, f"/api/jobs/{job_id}/status", {"status": status})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_posting_tells_discovery(api: Api) -> None:
    client, _ = await api.parties()
    posted = await api.ok(client, "/api/jobs", JOB | {"requiredSkills": [" React", "react", "TypeScript"]})
    assert posted["requiredSkills"] == ["react", "typescript"]
    assert posted["status"] == "active"
    assert "matchScore" not in posted
    shown = {key: posted[key] for key in ("id", "clientId", "title", "budgetMin", "budgetMax", "status")}
    assert await api.events() == [event for event in await api.events("wallet.updated", "notification.created")] + [
        (
            "job.posted",
            "jobs.discovery",
            {
                "job": shown
                | {
                    "requiredSkills": ["react", "typescript"],
                    "estimatedDuration": 120,
                    "createdAt": posted["createdAt"],
                },
                "matchScore": 50,
                "timestamp": posted["createdAt"],
            },
        )
    ]


async def _in(api: Api, status: str, client: Person, freelancer: Person) -> int:
    """A job in the given status."""
    job_id = await api.job(client)
    if status == "cancelled":
        await api.move(client, job_id, "cancelled")
    path = ["claimed", "in_progress", "submitted", "completed"]
    for step in path[: path.index(status) + 1] if status in path else []:
        if step == "claimed":
            await api.ok(freelancer, f"/api/jobs/{job_id}/claim")
        else:
            await api.move(client if step == "completed" else freelancer, job_id, step)
    return job_id


ALLOWED = {
    ("claimed", "in_progress"): "freelancer",
    ("claimed", "active"): "freelancer",
    ("in_progress", "submitted"): "freelancer",
    ("submitted", "in_progress"): "client",
    ("submitted", "completed"): "client",
    ("active", "cancelled"): "client",
    ("claimed", "cancelled"): "client",
    ("in_progress", "cancelled"): "client",
}


@pytest.mark.parametrize("before", STATUSES)
async def test_every_step_from_every_status(api: Api, before: str) -> None:
    client, freelancer = await api.parties()
    for after in STATUSES:
        job_id = await _in(api, before, client, freelancer)
        entitled = ALLOWED.get((before, after))
        has_freelancer = before not in ("active", "cancelled")
        for who, person in (("client", client), ("freelancer", freelancer)):
            if who == entitled:
                continue
            refused = await api.post(person, f"/api/jobs/{job_id}/status", {"status": after})
            is_party = who == "client" or has_freelancer
            expected = (409, "invalid-transition") if is_party and entitled is None else (403, "forbidden")
            assert (refused.status_code, refused.json()["code"]) == expected, (before, after, who)
        if entitled:
            moved = await api.move(client if entitled == "client" else freelancer, job_id, after)
            assert moved["status"] == after
            assert (await api.events("job.updated"))[-1][2]["status"] == after


async def test_completed_job_carries_the_deliverables(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.completed_job(client, freelancer)
    job = (await api.get(client, f"/api/jobs/{job_id}")).json()
    assert job["deliverables"] == ["source code", "documentation"]
    assert (await api.events("job.updated"))[-1] == (
        "job.updated",
        f"private-job.{job_id}",
        {
            "jobId": job_id,
            "status": "completed",
            "deliverables": ["source code", "documentation"],
            "updatedAt": job["updatedAt"],
            "timestamp": job["updatedAt"],
        },
    )
    stranger = await api.person("freelancer")
    assert (await api.get(stranger, f"/api/jobs/{job_id}")).json()["deliverables"] == []


async def test_releasing_frees_the_money_and_takes_the_channel(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.claimed_job(client, freelancer)
    released = await api.move(freelancer, job_id, "active")
    assert (released["claimedBy"], released["agreedAmount"], released["claimedAt"]) == (None, None, None)
    assert await api.wallet(client) == {"balance": 1000, "availableBalance": 1000, "heldBalance": 0}
    *_, updated, _, lost = await api.events("job.updated", "access.changed", "notification.created")
    assert updated[2]["status"] == "active"
    assert lost == ("access.changed", f"private-job.{job_id}", {"channel": f"private-job.{job_id}"})
    other = await api.person("freelancer")
    assert (await api.ok(other, f"/api/jobs/{job_id}/claim"))["claimedBy"] == other.id


@pytest.mark.parametrize("started", [False, True])
async def test_cancelling_a_claimed_job_frees_the_money(api: Api, started: bool) -> None:
    client, freelancer = await api.parties()
    job_id = await api.claimed_job(client, freelancer)
    if started:
        await api.move(freelancer, job_id, "in_progress")
    await api.move(client, job_id, "cancelled")
    assert await api.wallet(client) == {"balance": 1000, "availableBalance": 1000, "heldBalance": 0}
    assert (await api.events("wallet.updated"))[-1][2]["transactionType"] == "release"


async def test_cancelling_an_active_job_takes_the_presence_channel(api: Api) -> None:
    client, _ = await api.parties()
    job_id = await api.job(client)
    await api.move(client, job_id, "cancelled")
    assert [event[1] for event in await api.events("access.changed")] == [f"presence-job.{job_id}"]


async def test_simultaneous_steps_happen_once(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.claimed_job(client, freelancer)
    async with asyncio.TaskGroup() as group:
        tries = [
            group.create_task(api.post(who, f"/api/jobs/{job_id}/status", {"status": status}))
            for who, status in ((freelancer, "active"), (client, "cancelled"), (freelancer, "active")) * 3
        ]
    outcomes = collections.Counter(one.result().status_code for one in tries)
    assert outcomes[200] in (1, 2)  # a released job may still be cancelled
    assert (await api.wallet(client))["heldBalance"] == 0


async def test_if_match_refuses_a_stale_version(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.job(client)
    etag = (await api.get(freelancer, f"/api/jobs/{job_id}")).headers["etag"]
    claimed = await api.post(freelancer, f"/api/jobs/{job_id}/claim", if_match=etag)
    assert (claimed.status_code, claimed.headers["etag"] != etag) == (200, True)
    stale = await api.post(freelancer, f"/api/jobs/{job_id}/status", {"status": "in_progress"}, if_match=etag)
    assert (stale.status_code, stale.json()["code"]) == (412, "version-mismatch")
    fresh = claimed.headers["etag"]
    moved = await api.post(freelancer, f"/api/jobs/{job_id}/status", {"status": "in_progress"}, if_match=fresh)
    assert moved.status_code == 200
    odd = await api.post(freelancer, f"/api/jobs/{job_id}/status", {"status": "submitted"}, if_match="three")
    assert (odd.status_code, odd.json()["code"]) == (400, "malformed-header")


async def test_discovery_filters(api: Api) -> None:
    client, freelancer = await api.parties()
    cheap = await api.job(client, title="Cheap logo", budgetMin=5, budgetMax=10, requiredSkills=["figma"])
    dear = await api.job(client, title="Shop", description="A web shop", budgetMin=500, budgetMax=900)
    cancelled = await api.job(client, title="Gone logo")
    await api.move(client, cancelled, "cancelled")

    async def found(**query: object) -> list[int]:
        return [job["id"] for job in (await api.get(freelancer, "/api/jobs", **query)).json()["items"]]

    assert await found() == [cancelled, dear, cheap]
    assert await found(status="active") == [dear, cheap]
    assert await found(skill="Figma") == [cheap]
    assert await found(minBudget=11, status="active") == [dear]
    assert await found(maxBudget="499.99", status="active") == [cheap]
    assert await found(q="logo") == [cancelled, cheap]
    assert await found(q="web shop -logo") == [dear]
    assert await found(q="nothing like it") == []


async def test_match_score_is_shown_to_freelancers(api: Api) -> None:
    client, full = await api.parties()
    await api.job(client)
    half = await api.person("freelancer", skills=["react", "vue"])
    none = await api.person("freelancer")
    scores = [
        (await api.get(person, "/api/jobs")).json()["items"][0].get("matchScore")
        for person in (full, half, none, client)
    ]
    assert scores == [100, 75, 50, None]


async def test_my_jobs(api: Api) -> None:
    client, freelancer = await api.parties()
    other = await api.person("client")
    mine = [await api.job(client), await api.claimed_job(client, freelancer)]
    await api.job(other)
    assert [job["id"] for job in (await api.get(client, "/api/jobs/mine")).json()["items"]] == mine[::-1]
    assert [job["id"] for job in (await api.get(freelancer, "/api/jobs/mine")).json()["items"]] == mine[1:]


async def test_socket_id_travels_with_the_event(api: Api) -> None:
    client, _ = await api.parties()
    await api.post(client, "/api/jobs", JOB, x_socket_id="12.34", x_request_id="trace-me")
    await api.post(client, "/api/jobs", JOB, x_socket_id="12.34:evil")
    rows = await api.sql(
        "SELECT except_socket_id, request_id, traceparent FROM outbox_messages"
        " WHERE event_name = 'job.posted' ORDER BY id"
    )
    assert [row.except_socket_id for row in rows] == ["12.34", None]
    assert rows[0].request_id == "trace-me"
    assert all(row.traceparent.startswith("00-") for row in rows)
