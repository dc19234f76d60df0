"""The main job while parts of the platform are away: events are late then, never lost and never doubled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support.node_client import NodeClient, node_client
from tests.support.polling import eventually
from tests.support.processes import ServiceProcess
from tests.support.stack import Stack

JOB = {
    "title": "Repair a bicycle",
    "budgetMin": 20,
    "budgetMax": 40,
    "requiredSkills": ["tools"],
    "estimatedDuration": 30,
}


@asynccontextmanager
async def discovery(stack: Stack) -> AsyncIterator[tuple[NodeClient, httpx.AsyncClient]]:
    """An Echo client on `jobs.discovery` and an authorized client of the api."""
    poster = await stack.log_in("client")
    async with node_client(stack.ports.gateway) as echo, poster.http() as http:
        await echo.subscribe("jobs.discovery")
        yield echo, http


async def post_job(http: httpx.AsyncClient, title: str) -> None:
    answer = await http.post("/api/jobs", json=JOB | {"title": title})
    assert answer.status_code == 201, answer.text


def titles(echo: NodeClient) -> list[Any]:
    return [event.data["job"]["title"] for event in echo.events if event.event == "job.posted"]


async def settled(echo: NodeClient, http: httpx.AsyncClient, expected: list[str]) -> None:
    """A marker behind everything else arrives last: what was going to be repeated has been by then."""
    await eventually(lambda: len(titles(echo)) >= len(expected), 30, what=f"{expected}; seen {titles(echo)}")
    await post_job(http, "marker")
    await eventually(lambda: "marker" in titles(echo), 30, what=f"the marker; seen {titles(echo)}")
    assert titles(echo) == [*expected, "marker"]


async def test_a_worker_killed_between_commit_and_publish_costs_delay_only(own_stack: Stack) -> None:
    async with discovery(own_stack) as (echo, http):
        await post_job(http, "before")
        await echo.wait_event("job.posted")
        own_stack.worker.freeze()
        await post_job(http, "committed")
        own_stack.worker.kill()
        assert titles(echo) == ["before"]
        own_stack.worker.start()
        await settled(echo, http, ["before", "committed"])


async def test_a_restarted_redis_costs_delay_only(own_stack: Stack) -> None:
    async with discovery(own_stack) as (echo, http):
        await post_job(http, "before")
        await echo.wait_event("job.posted")
        own_stack.redis.stop()
        await post_job(http, "while redis was away")
        await post_job(http, "still away")
        own_stack.redis.start()
        await settled(echo, http, ["before", "while redis was away", "still away"])
        assert echo.states.count("connected") == 1, "the socket survived"


async def test_a_killed_redis_costs_delay_only(own_stack: Stack) -> None:
    async with discovery(own_stack) as (echo, http):
        await post_job(http, "before")
        await echo.wait_event("job.posted")
        own_stack.redis.process.kill()
        await post_job(http, "while redis was away")
        own_stack.redis.start()
        await settled(echo, http, ["before", "while redis was away"])


async def test_a_gateway_that_is_killed_sends_its_clients_to_the_other(own_stack: Stack) -> None:
    async with discovery(own_stack) as (echo, http):
        await post_job(http, "before")
        await echo.wait_event("job.posted")
        (serving,) = [gateway for gateway in own_stack.gateways if await connections(gateway)]
        serving.kill()
        await eventually(lambda: echo.states.count("connected") == 2, 10, what=f"connected anew; {echo.states}")
        await eventually(lambda: acknowledgements(echo) == 2, 10, what="subscribed anew")
        await post_job(http, "after")
        await eventually(lambda: "after" in titles(echo), 10)
        assert titles(echo) == ["before", "after"]


async def connections(gateway: ServiceProcess) -> int:
    """Open connections of one gateway process, by its own metrics."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{gateway.ready_port}/metrics")
    (line,) = [line for line in answer.text.splitlines() if line.startswith("sharedjox_gateway_connections ")]
    return int(float(line.split()[1]))


def acknowledgements(echo: NodeClient) -> int:
    return sum(frame.get("event") == "pusher_internal:subscription_succeeded" for frame in echo.frames)
