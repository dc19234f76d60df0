"""Requests that must not pass: wrong, replayed, forged, for another app, for a disabled app, oversized, too many."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.redis_layout import log_key

from tests.support.gateway import APP, Clients, GatewayNode, TestApp
from tests.support.http_api import Signed, call, send_request, sign_request, trigger
from tests.support.polling import never

from .conftest import DISABLED, OTHER, SLOW, STRICT

EVENT = {"name": "e", "channels": ["refused"], "data": "{}"}


@pytest.fixture(autouse=True)
async def nothing_is_published(redis: Redis) -> object:
    """After every test here: no event of it stands in a history."""
    yield
    for app in (APP, OTHER, DISABLED):
        assert await redis.exists(log_key(app.id, "refused")) == 0


async def test_an_unsigned_request_is_refused(node: GatewayNode) -> None:
    answer = await send_request(node, Signed("POST", f"/apps/{APP.id}/events", b'{"name":"e"}'))
    assert answer.status == 401
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("Missing parameter: auth_key.")


async def test_a_wrong_secret_is_refused(node: GatewayNode) -> None:
    forged = TestApp(APP.id, APP.key, "not the secret")
    answer = await call(node, "POST", "/events", EVENT, app=forged)
    assert answer.status == 401
    assert answer.text.startswith("Invalid signature: you should have sent HmacSHA256Hex(")


@pytest.mark.parametrize(("seconds", "status"), [(-590, 200), (-610, 401), (590, 200), (610, 401)])
async def test_a_replay_from_outside_the_window_is_refused(node: GatewayNode, seconds: int, status: int) -> None:
    answer = await call(node, "GET", "/channels", auth_timestamp=str(int(time.time()) + seconds))
    assert answer.status == status
    assert ("Timestamp expired" in answer.text) is (status == 401)


async def test_a_body_changed_on_its_way_is_refused(node: GatewayNode) -> None:
    request = sign_request("POST", "/events", EVENT)
    tampered = Signed(request.method, request.target, request.body.replace(b"{}", b"[]"))
    answer = await send_request(node, tampered)
    assert (answer.status, answer.text.startswith("Invalid body_md5")) == (401, True)


async def test_an_app_cannot_publish_for_another(node: GatewayNode) -> None:
    by_key = sign_request("POST", f"/apps/{APP.id}/events", EVENT, app=OTHER)
    by_secret = sign_request("POST", "/events", EVENT, app=TestApp(APP.id, APP.key, OTHER.secret))
    for request in (by_key, by_secret):
        assert (await send_request(node, request)).status == 401


async def test_an_app_does_not_see_the_channels_of_another(node: GatewayNode, clients: Clients) -> None:
    await (await clients.open(node)).subscribe("seen")
    assert (await call(node, "GET", "/channels", app=OTHER)).json == {"channels": {}}
    assert (await call(node, "GET", "/channels/seen", app=OTHER)).json == {"occupied": False}


async def test_an_event_does_not_reach_the_same_channel_of_another_app(node: GatewayNode, clients: Clients) -> None:
    client = await clients.open(node)
    await client.subscribe("shared-name")
    assert (await trigger(node, "shared-name", "e", app=OTHER)).status == 200
    await never(lambda: client.of("e"), 0.3)


async def test_a_disabled_app_cannot_publish_or_read(node: GatewayNode) -> None:
    for answer in (
        await call(node, "POST", "/events", EVENT, app=DISABLED),
        await call(node, "GET", "/channels", app=DISABLED),
    ):
        assert (answer.status, answer.text) == (403, "The app is disabled\n")


async def test_a_used_signature_is_refused_on_every_node_where_the_app_wants_it(nodes: list[GatewayNode]) -> None:
    request = sign_request("POST", "/events", {**EVENT, "channels": ["once"]}, app=STRICT)
    assert (await send_request(nodes[0], request)).status == 200
    for node in nodes:
        again = await send_request(node, request)
        assert (again.status, "used before" in again.text) == (401, True)


async def test_too_many_requests_are_told_when_to_come_back(node: GatewayNode) -> None:
    answers = await asyncio.gather(*(trigger(node, "busy", "e", app=SLOW) for _ in range(6)))
    refused = [answer for answer in answers if answer.status == 429]
    assert 3 <= len(refused) <= 4
    assert refused[0].headers["retry-after"] == "1"


async def test_data_over_the_limit_is_refused_with_the_number(node: GatewayNode) -> None:
    answer = await call(node, "POST", "/events", {**EVENT, "data": "é" * 5121})
    assert answer.status == 413
    assert answer.text == (
        "The data content of this event exceeds the allowed maximum (10240 bytes): it has 10242 bytes in UTF-8\n"
    )


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/events", "POST"), ("POST", "/channels", "GET, HEAD"), ("DELETE", "/batch_events", "POST")],
)
async def test_another_method_is_refused(node: GatewayNode, method: str, path: str, allow: str) -> None:
    answer = await call(node, method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)


async def test_an_unknown_path_is_not_found(node: GatewayNode) -> None:
    answer = await call(node, "GET", "/eventz")
    assert answer.status == 404
    assert answer.text.startswith(f"No such path: /apps/{APP.id}/eventz.")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/channels/room?info=user_count", "user_count is for presence channels"),
        ("/channels/room?info=cache", "cache attribute is for cache channels"),
        ("/channels/room?info=colour", "Unknown info attribute 'colour'"),
        ("/channels/room/users", "Users can be listed for presence channels only"),
        ("/channels?info=user_count", "filter_by_prefix=presence-"),
        ("/channels?info=user_count&filter_by_prefix=private-", "filter_by_prefix=presence-"),
        ("/channels?info=cache", "one channel"),
    ],
)
async def test_reads_that_make_no_sense_are_refused(node: GatewayNode, path: str, words: str) -> None:
    bare, _, query = path.partition("?")
    parameters = dict(part.split("=") for part in query.split("&")) if query else {}
    answer = await call(node, "GET", bare, query=parameters)
    assert answer.status == 400
    assert words in answer.text


async def test_terminating_a_malformed_user_is_refused(node: GatewayNode) -> None:
    path = f"/apps/{APP.id}/users/a%20b/terminate_connections"
    answer = await call(node, "POST", path, {})
    assert (answer.status, answer.text.startswith("Invalid user id 'a b'")) == (400, True)
