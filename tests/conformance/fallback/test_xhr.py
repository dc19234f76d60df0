"""The HTTP fallbacks with unmodified pusher-js, on gateway processes that share one port and no balancer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, GatewayNode, gateway_node
from tests.support.node_client import NodeClient, node_client
from tests.support.polling import eventually
from tests.support.processes import running
from tests.support.publishing import Publisher

TRANSPORTS = ["xhr_streaming", "xhr_polling"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[Cluster]:
    """Three processes behind one port: a request reaches any of them."""
    shared_redis_server.flush()
    with running_behind_one_port(tmp_path_factory.mktemp("xhr"), shared_redis_server.url, 3) as started:
        yield started


@pytest.fixture
def port(cluster: Cluster) -> int:
    """The port that all of them share."""
    return cluster.port


@dataclass(frozen=True, slots=True)
class Cluster:
    """`port` is shared; each node's own is its admin port."""

    port: int
    nodes: list[GatewayNode]

    async def sessions(self) -> float:
        """Fallback sessions of all processes."""
        return sum([await node.metric("sharedjox_gateway_xhr_sessions") for node in self.nodes])


@contextlib.contextmanager
def running_behind_one_port(folder: Path, redis_url: str, count: int) -> Iterator[Cluster]:
    shared = free_port()
    nodes = []
    for number in range(count):
        own = free_port()
        env = {"REVERB_PORT": str(shared), "GATEWAY_ADMIN_PORT": str(own)}
        node = gateway_node(folder, f"gateway-{number}", redis_url, env)
        node.port = node.service.ready_port = own
        nodes.append(node)
    with running(*(node.service for node in nodes)):
        yield Cluster(shared, nodes)


@pytest.fixture
async def publisher(shared_redis_server: EmbeddedRedis) -> AsyncIterator[Publisher]:
    redis = Redis.from_url(shared_redis_server.url)
    yield Publisher(redis)
    await redis.aclose()


def options(transport: str) -> dict[str, Any]:
    return {"enabledTransports": [transport], "activityTimeout": 3000, "pongTimeout": 3000}


def base(port: int, session: str = "1/aaaaaaaa") -> str:
    return f"http://127.0.0.1:{port}/pusher/app/{APP.key}/{session}"


async def test_an_unknown_session_cannot_send(port: int) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(base(port, "7/zzzzzzzz") + "/xhr_send", content="[]")
        assert answer.status_code == 404
        assert (await http.post(base(port, "7x/zzz zzz") + "/xhr", content="")).status_code == 404


async def test_a_bad_key_is_refused_with_its_code(port: int) -> None:
    async with httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{port}/pusher/app/nobody/1/bbbbbbbb/xhr?protocol=7"
        lines = (await http.post(url)).text.splitlines()
        assert lines[0] == "o"
        assert json.loads(json.loads(lines[1][1:])[0])["data"]["code"] == 4001
        assert lines[2] == 'c[4001,"Application does not exist"]'


@pytest.mark.parametrize("body", ["", "{", "{}", "[1]", '"x"', '["' + "x" * 300_000 + '"]'])
async def test_a_bad_body_is_refused_and_the_session_goes_on(port: int, body: str) -> None:
    session = f"2/bad{abs(hash(body)) % 10_000:05d}"
    async with httpx.AsyncClient() as http:
        opened = await http.post(base(port, session) + "/xhr?protocol=7")
        assert opened.text.startswith("o\na[")
        assert (await http.post(base(port, session) + "/xhr_send", content=body)).status_code in (400, 413)
        sent = await http.post(base(port, session) + "/xhr_send", content='["{\\"event\\":\\"pusher:ping\\"}"]')
        assert sent.status_code == 204
        assert "pusher:pong" in (await http.post(base(port, session) + "/xhr?protocol=7")).text


async def test_other_origins_may_ask(port: int) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.options(base(port) + "/xhr_send", headers={"Origin": "https://app.test"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.test"
    assert "content-type" in answer.headers["access-control-allow-headers"]


async def test_a_pings_answer_is_activity_and_no_heartbeat(port: int) -> None:
    session = base(port, "3/cccccccc")
    async with httpx.AsyncClient() as http:
        await http.post(session + "/xhr?protocol=7")
        await http.post(session + "/xhr_send", content="[]")
        assert (await http.post(session + "/xhr?protocol=7")).text == "a[]\n"


async def test_a_second_stream_takes_over_without_a_word_and_loses_nothing(port: int, publisher: Publisher) -> None:
    session = base(port, "4/dddddddd")
    url = session + "/xhr_streaming?protocol=7"
    async with httpx.AsyncClient(timeout=10) as http, http.stream("POST", url) as first:
        lines = first.aiter_lines()
        assert await anext(lines) == "o"
        assert "connection_established" in await anext(lines)
        subscribe = json.dumps({"event": "pusher:subscribe", "data": {"channel": "take.over"}})
        await http.post(session + "/xhr_send", content=json.dumps([subscribe]))
        assert "subscription_succeeded" in await anext(lines)
        async with http.stream("POST", url) as second:
            with pytest.raises(StopAsyncIteration):
                await anext(lines)
            await publisher.publish("take.over", {"n": 1})
            line = await anext(second.aiter_lines())
            (message,) = json.loads(line.removeprefix("a"))
            assert json.loads(message)["data"] == '{"n":1}'


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_pusher_js_works_over(port: int, publisher: Publisher, transport: str) -> None:
    channel = f"fallback.{transport}"
    async with node_client(port, library="pusher", options=options(transport)) as client:
        await client.subscribe(channel)
        for number in range(50):
            await publisher.publish(channel, {"n": number})
        await client.wait_event("test.event", count=50)
        assert [event.data["n"] for event in client.events] == list(range(50))
        await client.send("unsubscribe", channel=channel)
        assert client.states.count("connected") == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_echo_works_over(port: int, publisher: Publisher, transport: str) -> None:
    async with node_client(port, options=options(transport)) as client:
        await client.subscribe(f"echo.{transport}")
        await publisher.publish(f"echo.{transport}", {"n": 1})
        assert (await client.wait_event("test.event")).data == {"n": 1}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_went_away_is_dropped(cluster: Cluster, transport: str) -> None:
    async with node_client(cluster.port, library="pusher", options=options(transport)):
        assert await cluster.sessions() >= 1

    async def nobody_left() -> bool:
        return await cluster.sessions() == 0

    await eventually(nobody_left, 30, what="no session is left")


async def test_a_killed_owner_sends_its_clients_to_another_process(
    tmp_path: Path, redis_url: str, shared_redis_server: EmbeddedRedis
) -> None:
    with running_behind_one_port(tmp_path, redis_url, 2) as cluster:
        async with node_client(cluster.port, library="pusher", options=options("xhr_streaming")) as client:
            await client.subscribe("survivors")
            await kill_owner(cluster.nodes)
            await eventually(lambda: client.states.count("connected") == 2, 20, what=f"back; {client.states}")
            redis = Redis.from_url(shared_redis_server.url)
            await eventually(lambda: acknowledgements(client) == 2, 10)
            await Publisher(redis).publish("survivors", {"n": 1})
            await client.wait_event("test.event")
            await redis.aclose()


def acknowledgements(client: NodeClient) -> int:
    return sum(frame.get("event") == "pusher_internal:subscription_succeeded" for frame in client.frames)


async def kill_owner(nodes: list[GatewayNode]) -> None:
    (owner,) = [node for node in nodes if await node.metric("sharedjox_gateway_xhr_sessions")]
    owner.kill()
