"""What is not there is not found; what takes other methods says which. With and without the web app behind it."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.polling import scaled

from .harness import Api, make_settings, open_api
from .served import Served

OTHER_METHODS = {
    "PUT /api/jobs": "GET, HEAD, POST",
    "GET /api/jobs/7/claim": "POST",
    "PUT /api/auth/me": "GET, HEAD, PATCH",
    "POST /api/jobs/7": "GET, HEAD",
    "GET /api/push/subscriptions": "DELETE, POST",
    "GET /broadcasting/auth": "POST",
    "HEAD /broadcasting/auth": "POST",
    "HEAD /api/jobs/7/claim": "POST",
    "DELETE /healthz": "GET, HEAD",
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
        assert answer.status_code == 405, asked
        assert answer.content == b"" if asked.startswith("HEAD") else answer.json()["code"] == "method-not-allowed"
        assert answer.headers["allow"] == allowed, asked


async def test_unknown_paths_are_not_found_whatever_the_method(any_api: Api) -> None:
    for asked in NOT_THERE:
        answer = await any_api.http.request(*asked.split(" "))
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), asked


async def test_head_is_get_without_the_body(any_api: Api) -> None:
    """RFC 9110, section 9.3.2. Monitors and balancers ask so."""
    client, _ = await any_api.parties()
    job_id = await any_api.job(client)
    paths = f"/api/jobs/{job_id}", "/api/jobs?limit=1", "/api/wallet", "/healthz", "/readyz", "/api/openapi.json"
    for path in paths:
        got, asked = [await any_api.http.request(method, path, headers=client.headers) for method in ("GET", "HEAD")]
        assert (asked.status_code, asked.content) == (got.status_code, b"") == (200, b""), path
        for name in ("content-type", "content-length", "etag", "vary", "cache-control"):
            assert asked.headers.get(name) == got.headers.get(name), (path, name)
    assert (await any_api.http.head(f"/api/jobs/{job_id}")).status_code == 401
    assert (await any_api.http.head("/api/nothing")).status_code == 404
    metrics = (await any_api.http.get("/metrics")).text
    assert 'sharedjox_http_requests_total{method="HEAD",route="/api/jobs/{id}",status="200"} 1.0' in metrics


def test_no_body_follows_the_head_on_the_wire(served: Served) -> None:
    """What came behind it would be taken for the next answer."""
    url = httpx.URL(served.url)
    with socket.create_connection((url.host, url.port or 80), timeout=scaled(10)) as connection:
        for path in ("/healthz", "/api/jobs", "/api/openapi.json"):
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {url.host}\r\nConnection: close\r\n\r\n".encode())
        answers = b"".join(iter(partial(connection.recv, 65_536), b""))
    heads, _, body = answers.rpartition(b"\r\n\r\n")
    statuses = [head.split(b" ")[1] for head in heads.split(b"\r\n\r\n")]
    assert (statuses, json.loads(body)) == ([b"200", b"401", b"200", b"200"], {"status": "ok"})


async def test_the_web_app_is_only_read(postgres_url: str, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>web</title>", encoding="utf-8")
    async with open_api(make_settings(postgres_url, redis_url, web_dist_dir=tmp_path)) as api:
        assert (await api.http.get("/wallet")).text == "<title>web</title>"
        answer = await api.http.post("/wallet")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
