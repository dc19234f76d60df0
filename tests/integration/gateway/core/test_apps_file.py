"""APPS_FILE is read again when it changes: on both nodes, without a restart, and for the connections that are open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sharedjox_devstack.redis import EmbeddedRedis
from websockets.asyncio.client import connect

from tests.support.gateway import Clients, GatewayNode, SubscribeRefused, TestApp, running_gateways
from tests.support.http_api import call, trigger
from tests.support.polling import eventually

SHOP, BLOG = TestApp("1", "shop", "secret-of-the-shop"), TestApp("2", "blog", "secret-of-the-blog")


class AppsFile:
    """Two running gateways and the file they read."""

    def __init__(self, path: Path, nodes: list[GatewayNode]) -> None:
        self.path = path
        self.nodes = nodes

    def write(self, *entries: dict[str, Any]) -> None:
        """As a configuration tool does it: a new file in the place of the old one."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(entries))
        new.replace(self.path)

    async def in_force(self, app: TestApp, status: int) -> None:
        """Wait until every node answers this app's signed requests so."""

        async def everywhere() -> bool:
            return all([(await call(node, "GET", "/channels", app=app)).status == status for node in self.nodes])

        await eventually(everywhere, 10, what=f"app {app.id} is answered {status}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[AppsFile]:
    shared_redis_server.flush()
    folder = tmp_path_factory.mktemp("gateways")
    with running_gateways(folder, shared_redis_server.url, apps=[SHOP.config(), BLOG.config()]) as nodes:
        yield AppsFile(folder / "apps.json", nodes)


@pytest.fixture
async def apps_file(running: AppsFile) -> AppsFile:
    """Both apps are in force, whatever the test before wrote."""
    running.write(SHOP.config(), BLOG.config())
    await running.in_force(SHOP, 200)
    await running.in_force(BLOG, 200)
    return running


async def test_a_disabled_app_cannot_connect_or_publish_and_its_connections_end(
    apps_file: AppsFile, clients: Clients
) -> None:
    open_ones = [await clients.open(node, BLOG) for node in apps_file.nodes]
    others = [await clients.open(node, SHOP) for node in apps_file.nodes]
    apps_file.write(SHOP.config(), BLOG.config(enabled=False))
    for client in open_ones:
        assert await client.wait_closed(10) == 4003
        assert client.of("pusher:error")[0].data["code"] == 4003
    for node in apps_file.nodes:
        assert await refused(node, BLOG) == 4003
        answer = await trigger(node, "room", "e", app=BLOG)
        assert (answer.status, answer.text) == (403, "The app is disabled\n")
    for client in others:
        await client.round_trip()
    apps_file.write(SHOP.config(), BLOG.config())
    await apps_file.in_force(BLOG, 200)
    await (await clients.open(apps_file.nodes[0], BLOG)).round_trip()


async def test_an_app_that_is_taken_out_is_unknown(apps_file: AppsFile, clients: Clients) -> None:
    gone = await clients.open(apps_file.nodes[1], BLOG)
    apps_file.write(SHOP.config())
    assert await gone.wait_closed(10) == 4001
    await apps_file.in_force(BLOG, 401)
    assert await refused(apps_file.nodes[0], BLOG) == 4001


async def test_an_app_that_is_added_works_whole(apps_file: AppsFile, clients: Clients) -> None:
    """Terminating is a command over a topic of the app's own, so the nodes must have begun to listen to it."""
    added = TestApp("3", "added", "secret-of-the-added-app")
    apps_file.write(SHOP.config(), BLOG.config(), added.config())
    await apps_file.in_force(added, 200)
    here, there = apps_file.nodes
    client = await clients.open(there, added)
    await client.subscribe("private-a")
    assert (await trigger(here, "private-a", "e", app=added)).status == 200
    await client.wait_for("e")
    assert (await client.sign_in("7")).event == "pusher:signin_success"
    assert (await call(here, "POST", "/users/7/terminate_connections", {}, app=added)).status == 200
    assert await client.wait_closed() == 4009


async def test_switches_limits_and_secret_count_for_open_connections(apps_file: AppsFile, clients: Clients) -> None:
    client = await clients.open(apps_file.nodes[0], BLOG)
    await client.subscribe("private-a")
    rotated = TestApp(BLOG.id, BLOG.key, "another-secret-of-the-blog")
    apps_file.write(
        SHOP.config(), rotated.config(client_events=False, limits={"max_channel_name_length": 20, "max_event_bytes": 9})
    )
    await apps_file.in_force(rotated, 200)
    await apps_file.in_force(BLOG, 401)
    await client.send("client-x", {}, "private-a")
    assert "not enabled" in (await client.wait_for("pusher:error")).data["message"]
    with pytest.raises(SubscribeRefused):
        await client.subscribe("x" * 21)
    with pytest.raises(SubscribeRefused):
        await client.subscribe("private-b")
    client.app = rotated
    await client.subscribe("private-b")
    assert (await trigger(apps_file.nodes[1], "room", "e", "0123456789", app=rotated)).status == 413


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("[{", id="half-written"),
        pytest.param("[]", id="no-app"),
        pytest.param(json.dumps([SHOP.config(), SHOP.config(secret="other")]), id="one-id-twice"),
        pytest.param(json.dumps([SHOP.config(colour="red")]), id="unknown-member"),
        pytest.param(json.dumps([SHOP.config(id="x")]), id="id-that-sdks-refuse"),
    ],
)
async def test_a_file_that_cannot_be_used_changes_nothing_and_is_told(
    apps_file: AppsFile, clients: Clients, content: str
) -> None:
    client = await clients.open(apps_file.nodes[0], BLOG)
    apps_file.path.write_text(content)

    async def refusal_is(state: float) -> bool:
        return all([await node.metric("sharedjox_gateway_apps_file_refused") == state for node in apps_file.nodes])

    await eventually(lambda: refusal_is(1), 10, what="the nodes say that the file is refused")
    await client.round_trip()
    assert (await trigger(apps_file.nodes[0], "room", "e", app=BLOG)).status == 200
    apps_file.write(SHOP.config())
    await eventually(lambda: refusal_is(0), 10, what="the nodes have the next file")
    assert await client.wait_closed(10) == 4001


async def refused(node: GatewayNode, app: TestApp) -> int:
    """The code with which a newcomer is turned away."""
    async with connect(f"ws://127.0.0.1:{node.port}/app/{app.key}?protocol=7", proxy=None) as socket:
        error = json.loads(await socket.recv())
        assert error["event"] == "pusher:error"
        await socket.wait_closed()
        assert socket.close_code == error["data"]["code"]
        return socket.close_code or 0
