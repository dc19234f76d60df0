"""Fallback sessions on gateways that no balancer keeps apart, and the port between them against forged requests."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest
from redis.asyncio import Redis
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_gateway.apps import App
from sharedjox_gateway.xhr.hop import HOP_HEADER, TOLERANCE_SECONDS, sign_hop
from sharedjox_gateway.xhr.sessions import owner_key

from tests.support.gateway import APP, GatewayNode, TestApp, gateway_node
from tests.support.processes import running
from tests.support.publishing import Publisher

OTHER = TestApp(id="1002", key="other", secret="secret-of-the-other-app")
PING = json.dumps([json.dumps({"event": "pusher:ping"})])
HOP = App(id=APP.id, key=APP.key, secret=APP.secret)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two gateways on ports of their own; each has one more for the other."""

    nodes: list[GatewayNode]
    inside: list[int]

    def url(self, number: int, session: str, kind: str) -> str:
        """Where a client asks gateway `number`."""
        return f"{self.nodes[number].http_url}/pusher/app/{APP.key}/{session}/{kind}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[Pair]:
    shared_redis_server.flush()
    folder = tmp_path_factory.mktemp("hop")
    apps = folder / "apps.json"
    apps.write_text(json.dumps([APP.config(), OTHER.config()]))
    inside = [free_port(), free_port()]
    nodes = [
        gateway_node(
            folder,
            f"gateway-{number}",
            shared_redis_server.url,
            {"APPS_FILE": str(apps), "GATEWAY_INTERNAL_PORT": str(port)},
        )
        for number, port in enumerate(inside)
    ]
    with running(*(node.service for node in nodes)):
        yield Pair(nodes, inside)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield client


async def open_session(pair: Pair, http: httpx.AsyncClient, session: str) -> None:
    """On the first gateway."""
    opened = await http.post(pair.url(0, session, "xhr") + "?protocol=7")
    assert "connection_established" in opened.text


async def test_a_session_is_found_through_whichever_gateway(
    pair: Pair, http: httpx.AsyncClient, shared_redis_server: EmbeddedRedis
) -> None:
    session = "1/anywhere"
    await open_session(pair, http, session)
    redis = Redis.from_url(shared_redis_server.url)
    assert await redis.get(owner_key(f"{APP.key}/{session}")) == f"http://127.0.0.1:{pair.inside[0]}".encode()
    subscribe = json.dumps({"event": "pusher:subscribe", "data": {"channel": "found"}})
    assert (await http.post(pair.url(1, session, "xhr_send"), content=json.dumps([subscribe]))).status_code == 204
    other_page = {"Origin": "https://app.test"}
    answer = await http.post(pair.url(1, session, "xhr"), headers=other_page)
    assert "subscription_succeeded" in answer.text
    assert answer.headers["access-control-allow-origin"] == "https://app.test"
    async with http.stream("POST", pair.url(1, session, "xhr_streaming")) as stream:
        assert stream.headers["cache-control"].startswith("no-store")
        await Publisher(redis).publish("found", {"n": 1})
        line = await anext(stream.aiter_lines())
        (message,) = json.loads(line.removeprefix("a"))
        assert json.loads(message)["data"] == '{"n":1}'
    await redis.aclose()
    assert await pair.nodes[1].metric("sharedjox_gateway_xhr_sessions") == 0


def forgeries(path: str, body: bytes) -> dict[str, str | None]:
    """Values of the header that must not be good for this request, by what is wrong with them."""
    now = time.time()
    return {
        "none": None,
        "empty": "",
        "the header of former versions": "1",
        "a guess": f"{now:.0f}:" + "0" * 64,
        "another app's": sign_hop(App(id=OTHER.id, key=OTHER.key, secret=OTHER.secret), path, body, now),
        "the public key for a secret": sign_hop(replace_secret(APP.key), path, body, now),
        "of another request": sign_hop(HOP, path, body + b" ", now),
        "of another session": sign_hop(HOP, path.replace("/guarded/", "/another/"), body, now),
        "old": sign_hop(HOP, path, body, now - TOLERANCE_SECONDS - 30),
        "of a time to come": sign_hop(HOP, path, body, now + TOLERANCE_SECONDS + 30),
    }


def replace_secret(secret: str) -> App:
    return App(id=APP.id, key=APP.key, secret=secret)


async def test_nobody_but_a_gateway_reads_or_writes_a_session(pair: Pair, http: httpx.AsyncClient) -> None:
    session = "1/guarded"
    await open_session(pair, http, session)
    inside = f"http://127.0.0.1:{pair.inside[0]}"
    for kind in ("xhr_send", "xhr", "xhr_streaming"):
        path = f"/app/{APP.key}/{session}/{kind}"
        for wrong, value in forgeries(path, PING.encode()).items():
            headers = {} if value is None else {HOP_HEADER: value}
            answer = await http.post(inside + path, content=PING, headers=headers)
            assert (answer.status_code, answer.text) == (401, "not signed by a gateway\n"), (kind, wrong)
    await http.post(pair.url(0, session, "xhr_send"), content="[]")
    assert (await http.post(pair.url(0, session, "xhr"))).text == "a[]\n", "no forged ping was answered"
    path = f"/app/{APP.key}/{session}/xhr_send"
    signed = {HOP_HEADER: sign_hop(HOP, path, PING.encode(), time.time())}
    assert (await http.post(inside + path, content=PING, headers=signed)).status_code == 204
    assert "pusher:pong" in (await http.post(pair.url(0, session, "xhr"))).text


async def test_the_port_between_gateways_opens_no_session(pair: Pair, http: httpx.AsyncClient) -> None:
    before = await pair.nodes[0].metric("sharedjox_gateway_xhr_sessions")
    for kind in ("xhr_send", "xhr", "xhr_streaming"):
        path = f"/app/{APP.key}/1/notthere/{kind}"
        signed = {HOP_HEADER: sign_hop(HOP, path, b"", time.time())}
        assert (await http.post(f"http://127.0.0.1:{pair.inside[0]}{path}", headers=signed)).status_code == 404
    assert await pair.nodes[0].metric("sharedjox_gateway_xhr_sessions") == before


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", f"/apps/{APP.id}/channels", "/app/sharedjox"])
async def test_the_port_between_gateways_has_nothing_else(pair: Pair, http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(f"http://127.0.0.1:{pair.inside[0]}{path}")).status_code == 404


async def test_a_large_body_is_not_taken_before_it_is_known_whose(pair: Pair, http: httpx.AsyncClient) -> None:
    path = f"/app/{APP.key}/1/guarded/xhr_send"
    answer = await http.post(f"http://127.0.0.1:{pair.inside[0]}{path}", content=b"x" * 300_000)
    assert answer.status_code == 413


async def test_a_client_that_claims_to_be_a_gateway_is_a_client(pair: Pair, http: httpx.AsyncClient) -> None:
    session = "1/claiming"
    await open_session(pair, http, session)
    claim = {HOP_HEADER: f"{time.time():.0f}:" + "0" * 64}
    assert (await http.post(pair.url(1, session, "xhr_send"), content=PING, headers=claim)).status_code == 204
    assert "pusher:pong" in (await http.post(pair.url(1, session, "xhr"), headers=claim)).text


async def test_a_session_that_its_owner_lost_begins_anew(
    pair: Pair, http: httpx.AsyncClient, shared_redis_server: EmbeddedRedis
) -> None:
    """Redis still names an owner: the client is served where it came, and is not opened under the other's address."""
    session = "1/lostthere"
    redis = Redis.from_url(shared_redis_server.url)
    await redis.set(owner_key(f"{APP.key}/{session}"), f"http://127.0.0.1:{pair.inside[0]}")
    assert (await http.post(pair.url(1, session, "xhr_send"), content=PING)).status_code == 404
    before = await pair.nodes[1].metric("sharedjox_gateway_xhr_sessions")
    assert "connection_established" in (await http.post(pair.url(1, session, "xhr") + "?protocol=7")).text
    assert await pair.nodes[1].metric("sharedjox_gateway_xhr_sessions") == before + 1
    assert await redis.get(owner_key(f"{APP.key}/{session}")) == f"http://127.0.0.1:{pair.inside[1]}".encode()
    await redis.aclose()


async def test_gateways_that_share_no_secret_do_not_serve_each_other(
    pair: Pair, http: httpx.AsyncClient, shared_redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In the middle of a rotation without overlap: the client starts over where it is, and the log says why."""
    session = "1/nosecret"
    await open_session(pair, http, session)
    folder = tmp_path_factory.mktemp("stranger")
    stranger = gateway_node(folder, "stranger", shared_redis_server.url, {"REVERB_APP_SECRET": "quite-another"})
    with running(stranger.service):
        url = f"{stranger.http_url}/pusher/app/{APP.key}/{session}/"
        assert (await http.post(url + "xhr_send", content=PING)).status_code == 404
        assert "connection_established" in (await http.post(url + "xhr?protocol=7")).text
        assert "xhr.hop_refused" in stranger.service.log_text
