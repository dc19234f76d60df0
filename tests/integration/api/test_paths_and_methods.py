"""What is not there is not found; what takes other methods says which. With and without the web app behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .harness import Api, make_settings, open_api

OTHER_METHODS = {
    "PUT /api/jobs": "GET, POST",
    "GET /api/jobs/7/claim": "POST",
    "PUT /api/auth/me": "GET, PATCH",
    "POST /api/jobs/7": "GET",
    "GET /api/push/subscriptions": "DELETE, POST",
    "GET /broadcasting/auth": "POST",
    "DELETE /healthz": "GET",
}
NOT_THERE = (
    "GET /api/nothing",
    "POST /api/nothing",
    "PUT /broadcasting/nothing",
    "GET /api/jobs/7/claim/x",
    "POST /apps",
)


@pytest.fixture(params=["the api alone", "the api that serves the web app"])
async def any_api(
    request: pytest.FixtureRequest, postgres_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Api]:
    """Both forms in which it is run: the web app takes every path that is nobody else's."""
    (tmp_path / "index.html").write_text("<title>web</title>", encoding="utf-8")
    served = {"web_dist_dir": tmp_path} if "web" in request.param else {}
    async with open_api(make_settings(postgres_url, redis_url, **served)) as opened:
        yield opened


async def test_other_methods_are_refused_with_those_that_there_are(any_api: Api) -> None:
    for asked, allowed in OTHER_METHODS.items():
        answer = await any_api.http.request(*asked.split(" "))
        assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed"), asked
        assert answer.headers["allow"] == allowed, asked


async def test_unknown_paths_are_not_found_whatever_the_method(any_api: Api) -> None:
    for asked in NOT_THERE:
        answer = await any_api.http.request(*asked.split(" "))
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), asked


async def test_the_web_app_is_only_read(postgres_url: str, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>web</title>", encoding="utf-8")
    async with open_api(make_settings(postgres_url, redis_url, web_dist_dir=tmp_path)) as api:
        assert (await api.http.get("/wallet")).text == "<title>web</title>"
        answer = await api.http.post("/wallet")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
