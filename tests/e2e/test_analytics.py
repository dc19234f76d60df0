"""What operators see of the running platform: every figure comes from the processes themselves."""

from __future__ import annotations

from typing import Any

from tests.support.node_client import node_client
from tests.support.polling import eventually
from tests.support.stack import Stack

JOB = {"title": "Count me", "budgetMin": 10, "budgetMax": 20, "requiredSkills": ["x"], "estimatedDuration": 5}


async def test_only_operators_see_analytics(stack: Stack) -> None:
    client = await stack.log_in("client")
    async with client.http() as http:
        assert (await http.get("/api/analytics/realtime")).status_code == 403


async def test_connections_deliveries_and_latency_come_from_the_gateways(stack: Stack) -> None:
    operator, client = await stack.log_in("operator"), await stack.log_in("client")
    async with operator.http() as watching, client.http() as posting, node_client(stack.ports.gateway) as echo:
        await echo.subscribe("jobs.discovery")
        for _ in range(5):
            assert (await posting.post("/api/jobs", json=JOB)).status_code == 201
        await echo.wait_event("job.posted", count=5)

        async def figures() -> dict[str, Any]:
            answer = await watching.get("/api/analytics/realtime")
            assert answer.status_code == 200, answer.text
            seen: dict[str, Any] = answer.json()
            assert len(seen["nodes"]) == 2
            assert sum(node["connections"] for node in seen["nodes"]) == 1
            posted = next(event for event in seen["events"] if event["event"] == "job.posted")
            assert posted["commitToSocketMs"] is not None
            assert posted["commitToSocketMs"]["p50"] > 0
            return seen

        seen = await eventually(figures, 15, what="the gateways told their figures")
        assert all(node["node"] for node in seen["nodes"])
