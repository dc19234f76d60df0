"""Every wrong request gives its documented problem, and every problem there is can be had."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from sharedjox_api.http.openapi import Refusal, status_of

from tests.docs.problem_codes import OUTSIDE_OF_CALLS, documented_calls, refusals

from .harness import Api, make_settings, open_api
from .wrong_requests import SETTINGS, WRONG, World

ADDED_HEADERS = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}
"""What goes with a status whatever the code."""


async def _world(api: Api) -> World:
    client, freelancer = await api.parties()
    return World(api, client, freelancer, await api.person("client"), await api.person("operator"))


def _call_of(answer: httpx.Response, document: dict[str, Any]) -> str:
    """`METHOD /path/{with}/names`, as the document calls it; a path without parameters goes first."""
    request = answer.request
    for path in sorted(document["paths"], key=lambda path: path.count("{")):
        pattern = re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(path))
        if re.fullmatch(pattern, request.url.path) and request.method.lower() in document["paths"][path]:
            return f"{request.method} {path}"
    return f"{request.method} {request.url.path}"


def test_every_code_has_a_line() -> None:
    assert {refusal.code for refusal in refusals()} == set(WRONG)
    assert all(WRONG.values())


@pytest.mark.parametrize("refusal", refusals(), ids=lambda refusal: refusal.code)
async def test_wrong_requests_give_their_code(refusal: Refusal, postgres_url: str, redis_url: str) -> None:
    status, code = status_of(refusal), refusal.code
    async with open_api(make_settings(postgres_url, redis_url, **SETTINGS.get(code, {}))) as api:
        world, document = await _world(api), api.app.openapi()
        for what, ask in WRONG[code]:
            answer = await ask(world)
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (status, code), (what, answer.text)
            assert answer.headers["content-type"] == "application/problem+json", what
            assert (problem["status"], problem["title"]) == (status, refusal.title), what
            assert problem["type"] == f"urn:sharedjox:problem:{code}"
            assert problem["detail"]
            assert problem["requestId"] == answer.headers["x-request-id"]
            assert status not in ADDED_HEADERS or answer.headers[ADDED_HEADERS[status]], what
            if code not in OUTSIDE_OF_CALLS:
                assert _call_of(answer, document) in documented_calls(document)[status, code], what
