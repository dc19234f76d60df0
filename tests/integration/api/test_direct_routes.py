"""The short way and FastAPI's own way give the same answer to every request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sharedjox_api.app import create_app
from sharedjox_api.http.direct_routes import DirectRoutes
from sharedjox_api.http.routes import PublicRoute
from starlette.middleware import Middleware

from .harness import JOB, Api, Person, make_settings, open_api
from .test_bad_input import BROKEN

GETS = [
    "/api/jobs",
    "/api/jobs?status=active&limit=5&skill=react&minBudget=10&maxBudget=200.5&q=dashboard",
    "/api/jobs?status=active&status=cancelled",
    "/api/jobs?status=",
    "/api/jobs?status=gone&limit=x&minBudget=1e99",
    "/api/jobs?limit=0",
    "/api/jobs?limit=101&cursor=AAAA",
    "/api/jobs?cursor=AAAA",
    "/api/jobs?skill=&unknown=1",
    "/api/jobs?q=%00",
    "/api/jobs?%ff=%ff&limit=%31",
    "/api/jobs/",
    "/api/jobs/1",
    "/api/jobs/01",
    "/api/jobs/0",
    "/api/jobs/-1",
    "/api/jobs/9223372036854775808",
    "/api/jobs/one",
    "/api/jobs/1/",
    "/api/jobs/1/claim",
    "/api/jobs/mine",
    "/api/jobs/mine?limit=1",
    "/api/wallet",
    "/api/wallet?limit=1",
    "/api/wallet/transactions?type=deposit&jobId=0",
    "/api/wallet/transactions?type=deposit&jobId=3&scope=own",
    "/api/wallet/transactions?scope=all",
    "/api/notifications?unread=yes",
    "/api/notifications?unread=maybe",
    "/api/auth/sessions",
    "/api/nothing",
    "//api/jobs",
]
WHOLE = b'{"title": "T", "budgetMin": 1, "budgetMax": 2, "requiredSkills": [], "estimatedDuration": 1}'
POSTS: list[tuple[str, bytes, dict[str, str]]] = [
    ("/api/jobs", WHOLE, {}),
    ("/api/jobs", WHOLE, {"Content-Type": "text/plain"}),
    ("/api/jobs", WHOLE, {"Content-Type": "application/problem+json; charset=utf-8"}),
    ("/api/jobs", WHOLE, {"Content-Type": ""}),
    ("/api/jobs", WHOLE, {"Idempotency-Key": "\x7f"}),
    ("/api/jobs", b'{"title": ""}', {"Idempotency-Key": "\x7f"}),
    ("/api/jobs", b"", {}),
    ("/api/jobs", b"null", {}),
    ("/api/jobs", b"[]", {}),
    ("/api/jobs", b'{"title": 1, "budgetMin": "1", "requiredSkills": [" "], "estimatedDuration": -1}', {}),
    ("/api/jobs/1/claim", b"", {}),
    ("/api/jobs/1/claim", b"null", {}),
    ("/api/jobs/one/claim", b"{", {}),
    ("/api/jobs/one/claim", b"{}", {"If-Match": "x"}),
    ("/api/jobs/1/claim", b"{}", {"If-Match": "x"}),
    ("/api/jobs/1/claim", b'{"offer": 0}', {}),
    ("/api/jobs/1/status", b'{"status": "done", "deliverables": [1]}', {}),
    ("/api/wallet/deposits", b'{"amount": 1.001}', {}),
    ("/api/wallet/deposits", b'{"amount": ' + b"1" * 300_000 + b"}", {}),
    ("/api/notifications/x/read", b"", {}),
    ("/api/wallet/transactions/7/confirm", b"", {}),
    ("/api/auth/login", b"{}", {}),
    ("/broadcasting/auth", b"socket_id=1.2&channel_name=x", {"Content-Type": "application/x-www-form-urlencoded"}),
    *(("/api/jobs", body, {}) for body in BROKEN.values()),
]


@pytest.fixture
async def plain(api: Api) -> AsyncIterator[Api]:
    """The same api, on the same database, without the short way."""
    async with open_api(api.runtime.settings) as opened:
        opened.app.user_middleware[:] = [one for one in opened.app.user_middleware if not _is_short_way(one)]
        yield opened


def _is_short_way(middleware: Middleware) -> bool:
    return getattr(middleware.cls, "__name__", "") == DirectRoutes.__name__


def _seen(answer: httpx.Response) -> Any:
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    kind = headers.get("content-type", "")
    body: Any = answer.json() if answer.content and kind.endswith("json") else answer.text
    if not answer.content:
        headers.pop("content-length", None)  # of what HEAD leaves out; a request id is in it
    elif "problem" in kind:
        body.pop("requestId")
        headers.pop("content-length")
    elif isinstance(body, dict):
        # What differs from one post to the next.
        for name in ("id", "createdAt", "updatedAt"):
            body.pop(name, None)
        headers.pop("content-length")
    return answer.status_code, headers, body


@pytest.mark.parametrize("who", ["client", "freelancer", "nobody", "logged out"])
async def test_both_ways_answer_alike(api: Api, plain: Api, who: str) -> None:
    client, freelancer = await api.parties()
    await api.job(client)
    asking: Person | None = {"client": client, "freelancer": freelancer, "logged out": freelancer}.get(who)
    if who == "logged out":
        await api.ok(freelancer, "/api/auth/logout")
    headers = asking.headers if asking else {}
    for path in GETS:
        for method in ("GET", "HEAD", "DELETE"):
            answers = [await one.http.request(method, path, headers=headers) for one in (api, plain)]
            assert _seen(answers[0]) == _seen(answers[1]), (method, path)
    for path, body, more in POSTS:
        sent = headers | {"Content-Type": "application/json"} | more
        answers = [await one.http.post(path, content=body, headers=sent) for one in (api, plain)]
        if path == "/api/jobs/1/claim" and answers[0].is_success:
            assert answers[1].json()["code"] == "job-already-claimed"
            continue
        assert _seen(answers[0]) == _seen(answers[1]), (path, body[:80], more)


async def test_a_request_that_does_not_validate_is_counted_once(postgres_url: str, redis_url: str) -> None:
    async with open_api(make_settings(postgres_url, redis_url, rate_limit_user_per_minute=3)) as api:
        client = await api.person("client")
        statuses = [(await api.post(client, "/api/jobs", JOB | {"title": ""})).status_code for _ in range(4)]
    assert statuses == [422, 422, 422, 429]


def test_all_calls_take_the_short_way(api: Api) -> None:
    """An endpoint whose signature asks for more than `arguments_of` knows would be slow, and nobody would notice."""
    (direct,) = (one for one in create_app(api.runtime.settings).user_middleware if _is_short_way(one))
    routes: Any = direct.kwargs["routes"]
    assert len(routes) > 20
    assert [route for route in routes if not (isinstance(route, PublicRoute) and route.is_direct)] == []
