"""Application secrets are rotated under open connections: both are good for a while, then only the new one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sharedjox_contracts.signatures import signed_query
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_kit.clock import unix_ms

from tests.support.gateway import (
    APP,
    GatewayNode,
    PusherClient,
    SubscribeRefused,
    TestApp,
    pusher_client,
    running_gateways,
)
from tests.support.polling import eventually

OLD, NEW, STRANGER = (replace(APP, secret=secret) for secret in ("old-one", "new-one", "nobodys"))
BODY = b'{"name":"turned","channels":["public"],"data":"{}"}'


class Node:
    """One gateway and its APPS_FILE."""

    def __init__(self, gateway: GatewayNode, apps_file: Path) -> None:
        self.gateway = gateway
        self.port = gateway.port
        self.log_file = apps_file.with_name("gateway-1.log")
        self._apps_file = apps_file

    def write(self, *apps: dict[str, Any]) -> None:
        """Replace APPS_FILE at once, as a careful operator does."""
        beside = self._apps_file.with_suffix(".new")
        beside.write_text(json.dumps(apps), encoding="utf-8")
        beside.replace(self._apps_file)

    async def publishes(self, app: TestApp) -> int:
        """The status of a publish that `app` signs."""
        path = f"/apps/{app.id}/events"
        query = signed_query(
            key=app.key, secret=app.secret, method="POST", path=path, body=BODY,
            timestamp=unix_ms() // 1000, parameters={},
        )  # fmt: skip
        async with httpx.AsyncClient(base_url=self.gateway.http_url) as http:
            return (await http.post(path, params=query, content=BODY)).status_code


@pytest.fixture
def node(tmp_path: Path, shared_redis_server: EmbeddedRedis) -> Iterator[Node]:
    shared_redis_server.flush()
    with running_gateways(tmp_path, shared_redis_server.url, count=1, apps=[OLD.config()]) as (gateway,):
        yield Node(gateway, tmp_path / "apps.json")


@pytest.fixture
async def listener(node: Node) -> AsyncIterator[PusherClient]:
    """Connected before anything is rotated."""
    async with pusher_client(node.port, app=OLD) as client:
        yield client


async def joins(node: Node, app: TestApp, channel: str, **member: Any) -> bool:
    """Whether a new connection of `app` gets into a private channel."""
    async with pusher_client(node.port, app=app) as client:
        try:
            await client.subscribe(channel, **member)
        except SubscribeRefused:
            return False
        return True


async def signs_in(node: Node, app: TestApp) -> bool:
    async with pusher_client(node.port, app=app) as client:
        return (await client.sign_in("7")).event == "pusher:signin_success"


async def may(node: Node, app: TestApp) -> set[bool]:
    """The answers to everything that is signed with an app's secret."""
    return {
        await joins(node, app, "private-job.7"),
        await joins(node, app, "presence-job.7", user_id="7"),
        await signs_in(node, app),
        await node.publishes(app) == 200,
    }


async def test_a_secret_is_rotated_without_a_gap(node: Node, listener: PusherClient) -> None:
    assert (await may(node, OLD), await may(node, NEW)) == ({True}, {False})

    node.write(OLD.config(accepted_secrets=[NEW.secret]))
    await eventually(lambda: _answers(node, NEW, 200), 15, what="the next secret is accepted")
    assert (await may(node, OLD), await may(node, NEW), await may(node, STRANGER)) == ({True}, {True}, {False})

    node.write(NEW.config(accepted_secrets=[OLD.secret]))
    await listener.subscribe("private-job.7")  # signed with the old secret, on a connection from before
    assert (await may(node, OLD), await may(node, NEW)) == ({True}, {True})

    node.write(NEW.config())
    await eventually(lambda: _answers(node, OLD, 401), 15, what="the old secret is refused")
    assert (await may(node, OLD), await may(node, NEW)) == ({False}, {True})
    with pytest.raises(SubscribeRefused):
        await listener.subscribe("private-job.8")


async def test_a_file_that_cannot_be_used_changes_nothing(node: Node) -> None:
    other = TestApp("2002", "second", "second-secret")
    node.write(OLD.config(), OLD.config())  # the same id twice
    await eventually(lambda: _has_logged(node, "apps_file.refused"), 15, what="the file was refused")
    assert await may(node, OLD) == {True}

    node.write(OLD.config(), other.config())
    await eventually(lambda: _answers(node, other, 200), 15, what="the new application is known")
    assert (await may(node, OLD), await may(node, other)) == ({True}, {True})


async def _answers(node: Node, app: TestApp, status: int) -> bool:
    return await node.publishes(app) == status


def _has_logged(node: Node, event: str) -> bool:
    return event in node.log_file.read_text(encoding="utf-8")
