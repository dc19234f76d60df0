"""One trace from the POST to the socket, over three processes and two stores."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.gateway import pusher_client
from tests.support.otlp import Collector, Span, running_collector
from tests.support.polling import eventually
from tests.support.stack import Stack, running_stack

JOB = {"title": "Traced", "budgetMin": 5, "budgetMax": 9, "requiredSkills": ["tracing"], "estimatedDuration": 30}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as started:
        yield started


@pytest.fixture(scope="module")
def traced_stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with running_stack(tmp_path_factory.mktemp("traced"), gateways=1, extra_env=settings) as stack:
        yield stack


async def post_job(stack: Stack, headers: dict[str, str]) -> httpx.Response:
    """Post a job as the demo client while somebody listens on `jobs.discovery`."""
    client = await stack.log_in("client")
    async with pusher_client(stack.ports.gateway) as listener, client.http() as http:
        await listener.subscribe("jobs.discovery")
        answer = await http.post("/api/jobs", json=JOB, headers=headers)
        assert answer.status_code == 201
        await listener.wait_for("job.posted", channel="jobs.discovery")
    return answer


async def trace_of(collector: Collector, request_id: str) -> list[Span]:
    """The three spans that a request led to, each below the one before it."""

    def chain() -> list[Span]:
        spans = [one for one in collector.spans if one.attributes.get("url.path") and is_of(one, request_id)]
        while spans and (below := [one for one in collector.spans if one.parent_id == spans[-1].span_id]):
            spans += below
        return spans

    await eventually(lambda: len(chain()) >= 3, 15, what=f"spans of {request_id}")
    return chain()


def is_of(span: Span, request_id: str) -> bool:
    return bool(span.attributes.get("sharedjox.request_id") == request_id)


async def test_a_post_is_traced_to_the_socket(traced_stack: Stack, collector: Collector) -> None:
    answer = await post_job(traced_stack, {})
    asked, published, delivered = await trace_of(collector, answer.headers["x-request-id"])
    assert [(one.service, one.name) for one in (asked, published, delivered)] == [
        ("sharedjox-api", "POST /api/jobs"),
        ("sharedjox-worker", "publish job.posted"),
        ("sharedjox-gateway", "deliver job.posted"),
    ]
    assert len({one.trace_id for one in (asked, published, delivered)}) == 1
    assert asked.start_ns < published.start_ns <= published.end_ns
    assert delivered.start_ns <= delivered.end_ns
    assert (delivered.attributes["sharedjox.members"], delivered.attributes["sharedjox.offset"]) == (1, 1)


async def test_the_callers_own_trace_goes_on(traced_stack: Stack, collector: Collector) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await post_job(traced_stack, {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    asked, _, delivered = await trace_of(collector, answer.headers["x-request-id"])
    assert (asked.parent_id, asked.trace_id, delivered.trace_id) == ("00f067aa0ba902b7", trace_id, trace_id)


async def test_a_caller_that_does_not_sample_is_not_recorded(traced_stack: Stack, collector: Collector) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    await post_job(traced_stack, {"traceparent": f"00-{trace_id}-b7ad6b7169203331-00"})
    later = await post_job(traced_stack, {})
    await trace_of(collector, later.headers["x-request-id"])
    assert [one for one in collector.spans if one.trace_id == trace_id] == []
