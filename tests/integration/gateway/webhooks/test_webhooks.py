"""Webhooks from two gateways and real clients to a real receiver, through the worker's dispatcher."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pusher import Pusher
from redis.asyncio import Redis
from sharedjox_contracts.count_layout import totals_key
from sharedjox_contracts.presence_layout import members_key
from sharedjox_contracts.webhook_layout import cursors_key, held_key, queue_key
from sharedjox_contracts.webhooks import WebhookApp, WebhookEndpoint
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_worker.webhooks.delivery import DeliveryLimits
from sharedjox_worker.webhooks.dispatcher import WebhookDispatcher
from sharedjox_worker.webhooks.metrics import WebhookMetrics

from tests.support.gateway import APP, Clients, GatewayNode, TestApp, running_gateways
from tests.support.polling import eventually, never, scaled
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

OTHER = TestApp(id="1002", key="other-key", secret="other-secret-of-the-tests")
SILENT = TestApp(id="1003", key="silent-key", secret="silent-secret-of-the-tests")
LIMITS = DeliveryLimits(timeout_seconds=scaled(1), allow_private=True)
HOLD_SECONDS = 3.0


@dataclass(slots=True)
class Dispatching:
    """Runs dispatchers against the module's Redis."""

    redis: Redis
    tasks: list[asyncio.Task[None]]

    def start(self, *apps: WebhookApp, limits: DeliveryLimits = LIMITS) -> asyncio.Task[None]:
        dispatcher = WebhookDispatcher(self.redis, lambda: list(apps), limits, WebhookMetrics(CollectorRegistry()))
        task = asyncio.create_task(dispatcher.run())
        self.tasks.append(task)
        return task


def receiving(receiver: WebhookReceiver, app: TestApp = APP, **options: Any) -> WebhookApp:
    return WebhookApp(app.id, app.key, app.secret, webhooks=(WebhookEndpoint(receiver.url, **options),))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, shared_redis_server: EmbeddedRedis) -> Iterator[list[GatewayNode]]:
    """Gateways whose apps tell everything; to whom is the dispatcher's business."""
    shared_redis_server.flush()
    somewhere = [{"url": "http://receiver.test/"}]
    apps = [
        APP.config(webhooks=somewhere, subscription_counts=True),
        OTHER.config(webhooks=somewhere),
        SILENT.config(),
    ]
    env = {"LEASE_HEARTBEAT_SECONDS": str(scaled(0.3)), "LEASE_SECONDS": str(scaled(1.2))}
    with running_gateways(tmp_path_factory.mktemp("gateways"), shared_redis_server.url, apps=apps, env=env) as started:
        yield started


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as listening:
        yield listening


@pytest.fixture
async def dispatching(nodes: list[GatewayNode], shared_redis_server: EmbeddedRedis) -> AsyncIterator[Dispatching]:
    """Begins when the last test's clients are off the books, with empty queues; ends its dispatchers.

    Who closes a socket leaves the counts and rosters a moment later, and that is when a going is held to be told.
    """
    redis = Redis.from_url(shared_redis_server.url)
    await eventually(lambda: _is_deserted(redis), what="the clients of the test before are gone")
    for app in (APP, OTHER):
        for key in [key async for key in redis.scan_iter(f"{queue_key(app.id)}*")]:
            await redis.delete(key)
    started = Dispatching(redis, [])
    yield started
    for task in started.tasks:
        task.cancel()
    await asyncio.wait(started.tasks) if started.tasks else None
    await redis.aclose()


async def _is_deserted(redis: Redis) -> bool:
    for app in (APP, OTHER, SILENT):
        counts = await redis.hvals(totals_key(app.id))  # type: ignore[misc]  # stub: not only a list
        if any(int(count) for count in counts):
            return False
    return not [key async for key in redis.scan_iter(members_key("*", "*"))]


def named(events: Sequence[dict[str, Any]], channel: str) -> list[str]:
    return [event["name"] for event in events if event["channel"] == channel]


# --- form -------------------------------------------------------------------------------------------------------------


async def test_a_request_has_exactly_the_headers_and_signature_that_official_sdks_check(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    dispatching.start(receiving(receiver, headers={"X-Tenant": "blue"}))
    client = await clients.open(nodes[0])
    await client.subscribe("hook-form")
    await receiver.wait_events(1, "channel_occupied")
    (request,) = receiver.requests[:1]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-pusher-key"] == APP.key
    assert request.headers["x-pusher-signature"] == hmac.new(APP.secret.encode(), request.body, "sha256").hexdigest()
    assert request.headers["x-tenant"] == "blue"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    body = json.loads(request.body)
    assert set(body) == {"time_ms", "events"}
    assert abs(body["time_ms"] - time.time() * 1000) < 10_000
    assert body["events"][0] == {"name": "channel_occupied", "channel": "hook-form"}
    sdk = Pusher(app_id=APP.id, key=APP.key, secret=APP.secret)
    assert sdk.validate_webhook(APP.key, request.headers["x-pusher-signature"], request.body.decode()) == body


async def test_all_seven_types_are_told_once_for_the_cluster(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    dispatching.start(receiving(receiver))
    ada, bob = await clients.open(nodes[0]), await clients.open(nodes[1])
    await ada.subscribe("presence-hooks", user_id=7)
    await bob.subscribe("presence-hooks", user_id="8")
    await ada.send("client-typing", {"deep": [1, "ü"]}, "presence-hooks")
    await bob.wait_for("client-typing")
    await ada.subscribe("cache-hooks")
    await bob.subscribe("cache-hooks")
    await receiver.wait_events(1, "client_event")
    await receiver.wait_events(1, "cache_miss")
    await receiver.wait_events(2, "subscription_count")
    await ada.close()
    await bob.close()
    await receiver.wait_events(2, "channel_vacated")
    await receiver.wait_events(2, "member_removed")
    events = receiver.events()
    assert sorted(map(json.dumps, receiver.events("member_added"))) == [
        '{"name": "member_added", "channel": "presence-hooks", "user_id": "7"}',
        '{"name": "member_added", "channel": "presence-hooks", "user_id": "8"}',
    ]
    assert sorted(named(events, "presence-hooks")) == [
        *("channel_occupied", "channel_vacated", "client_event"),
        *("member_added", "member_added", "member_removed", "member_removed"),
    ]
    assert named(events, "cache-hooks").count("channel_occupied") == 1
    assert named(events, "cache-hooks").count("cache_miss") == 1, "several at once are one"
    counts = [event["subscription_count"] for event in receiver.events("subscription_count")]
    assert counts[:2] == [1, 2]
    (whisper,) = receiver.events("client_event")
    assert whisper == {
        "name": "client_event",
        "channel": "presence-hooks",
        "user_id": "7",
        "event": "client-typing",
        "data": '{"deep": [1, "\\u00fc"]}',
        "socket_id": ada.socket_id,
    }


async def test_the_events_of_a_channel_come_in_order_and_each_once(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    dispatching.start(receiving(receiver, max_events=3))
    dispatching.start(receiving(receiver, max_events=3))  # a second worker
    receiver.will_answer(200, 500, 200, 503)
    client = await clients.open(nodes[0])
    await client.subscribe("private-order")
    for number in range(9):
        await client.send("client-n", {"n": number}, "private-order")
    await client.round_trip()
    assert not client.of("pusher:error")

    def taken() -> list[int]:
        requests = [request for number, request in enumerate(receiver.requests) if number not in (1, 3)]
        return [json.loads(event["data"])["n"] for request in requests for event in request.events if "data" in event]

    await eventually(lambda: len(taken()) >= 9, 10, what="the last one is taken, after refusals")
    assert taken() == list(range(9))
    assert max(len(request.events) for request in receiver.requests) <= 3


async def test_apps_are_never_mixed_and_each_signs_with_its_own_secret(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    clients_of = {app.key: await clients.open(nodes[0], app) for app in (APP, OTHER, SILENT)}
    for key, client in clients_of.items():
        await client.subscribe(f"mixed-{key}")
    dispatching.start(receiving(receiver), receiving(receiver, OTHER), receiving(receiver, SILENT))
    await receiver.wait_events(2, "channel_occupied")
    for request in receiver.requests:
        app = {APP.key: APP, OTHER.key: OTHER}[request.headers["x-pusher-key"]]
        assert (
            request.headers["x-pusher-signature"] == hmac.new(app.secret.encode(), request.body, "sha256").hexdigest()
        )
        assert {event["channel"] for event in request.events} == {f"mixed-{app.key}"}


async def test_an_endpoint_gets_the_events_it_asks_for(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    async with webhook_receiver() as everything:
        some = WebhookEndpoint(receiver.url, events=frozenset({"member_added"}))
        dispatching.start(WebhookApp(APP.id, APP.key, APP.secret, webhooks=(some, WebhookEndpoint(everything.url))))
        client = await clients.open(nodes[0])
        await client.subscribe("presence-filter", user_id=1)
        await everything.wait_events(2)
        assert sorted(named(everything.events(), "presence-filter")) == ["channel_occupied", "member_added"]
        await receiver.wait_events(1)
        assert [event["name"] for event in receiver.events()] == ["member_added"]


# --- flaps ------------------------------------------------------------------------------------------------------------


async def test_who_is_back_within_three_seconds_has_not_been_away(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    dispatching.start(receiving(receiver))
    first, second = await clients.open(nodes[0]), await clients.open(nodes[1])
    await first.subscribe("presence-flap", user_id=1)
    await receiver.wait_events(2)
    await first.abort()
    await eventually(lambda: _held(dispatching, "presence-flap", 2), what="both goings are held")
    await second.subscribe("presence-flap", user_id=1)
    await eventually(lambda: _held(dispatching, "presence-flap", 0), what="both goings are cancelled")
    await never(lambda: len(named(receiver.events(), "presence-flap")) > 2, during=1)
    left_at = asyncio.get_running_loop().time()
    await second.unsubscribe("presence-flap")
    await eventually(lambda: len(named(receiver.events(), "presence-flap")) >= 4, 10, what="both goings are told")
    assert named(receiver.events(), "presence-flap")[2:] == ["member_removed", "channel_vacated"]
    vacated_at = next(r.at for r in receiver.requests if any(e["name"] == "channel_vacated" for e in r.events))
    assert HOLD_SECONDS - 0.1 <= vacated_at - left_at < HOLD_SECONDS + scaled(2)


async def _held(dispatching: Dispatching, channel: str, count: int) -> bool:
    held = await dispatching.redis.zrange(held_key(APP.id), 0, -1)
    return sum(1 for text in held if json.loads(text)["channel"] == channel) == count


async def test_a_killed_gateways_members_and_channels_are_told_once(
    tmp_path: Path,
    redis_server: EmbeddedRedis,
    clients: Clients,
    receiver: WebhookReceiver,
) -> None:
    apps = [APP.config(webhooks=[{"url": receiver.url}])]
    env = {"LEASE_HEARTBEAT_SECONDS": "0.3", "LEASE_SECONDS": str(scaled(1.2))}
    redis = Redis.from_url(redis_server.url)
    dispatching = Dispatching(redis, [])
    with running_gateways(tmp_path, redis_server.url, count=3, apps=apps, env=env) as (doomed, second, _third):
        dispatching.start(receiving(receiver))
        for number in range(10):
            await (await clients.open(doomed)).subscribe("presence-dead", user_id=number)
        await (await clients.open(second)).subscribe("presence-dead", user_id=0)
        await (await clients.open(doomed)).subscribe("only-there")
        await receiver.wait_events(10, "member_added")
        await receiver.wait_events(2, "channel_occupied")
        doomed.kill()
        await receiver.wait_events(9, "member_removed", deadline=20)
        await receiver.wait_events(1, "channel_vacated", deadline=20)
        await clients.close()
    assert sorted(event["user_id"] for event in receiver.events("member_removed")) == [str(n) for n in range(1, 10)]
    assert receiver.events("channel_vacated") == [{"name": "channel_vacated", "channel": "only-there"}]
    dispatching.tasks[0].cancel()
    await asyncio.wait(dispatching.tasks)
    await redis.aclose()


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_failures_are_retried_with_growing_delays_and_the_same_bytes(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    receiver.will_answer(500, 404)
    receiver.will_answer(301, headers=f"Location: {receiver.url}\r\n")
    dispatching.start(receiving(receiver))
    client = await clients.open(nodes[0])
    await client.subscribe("hook-retry")
    await eventually(lambda: len(receiver.requests) == 4, 15, what="three failures and a success")
    assert len({request.body for request in receiver.requests}) == 1
    gaps = [after.at - before.at for before, after in zip(receiver.requests, receiver.requests[1:], strict=False)]
    assert [round(gap) for gap in gaps] == pytest.approx([1, 2, 4], abs=1)
    assert gaps == sorted(gaps)
    await never(lambda: len(receiver.requests) > 4, during=1, what="told again after a 2xx")


async def test_a_stuck_receiver_is_given_up_and_another_app_does_not_wait_for_it(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    receiver.is_stuck = True
    async with webhook_receiver() as healthy:
        dispatching.start(
            receiving(receiver),
            receiving(healthy, OTHER),
            limits=DeliveryLimits(retry_seconds=0, timeout_seconds=0.3, allow_private=True),
        )
        ours, theirs = await clients.open(nodes[0]), await clients.open(nodes[0], OTHER)
        await ours.subscribe("hook-stuck")
        await theirs.subscribe("hook-healthy")
        await healthy.wait_events(1, "channel_occupied")
        await eventually(lambda: len(receiver.requests) == 1)
        receiver.is_stuck = False
        await ours.subscribe("hook-after")
        await eventually(lambda: named(receiver.events(), "hook-after") == ["channel_occupied", "subscription_count"])
        assert named(receiver.events(), "hook-stuck").count("channel_occupied") == 1, "too old to be tried again"


async def test_an_endless_answer_is_cut_off(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1_000_000
    receiver.answers.append(endless)
    dispatching.start(receiving(receiver))
    client = await clients.open(nodes[0])
    await client.subscribe("hook-endless-a")
    await receiver.wait_events(1)
    await client.subscribe("hook-endless-b")
    await eventually(lambda: "channel_occupied" in named(receiver.events(), "hook-endless-b"))
    assert named(receiver.events(), "hook-endless-a").count("channel_occupied") == 1, "its status was a yes"


async def test_nothing_is_lost_when_the_worker_dies_and_another_takes_over(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    receiver.will_answer(*[503] * 2)
    first = dispatching.start(receiving(receiver))
    client = await clients.open(nodes[0])
    await client.subscribe("hook-takeover-1")
    await eventually(lambda: len(receiver.requests) >= 1)
    first.cancel()
    await asyncio.wait([first])
    await client.subscribe("hook-takeover-2")
    dispatching.start(receiving(receiver))
    await eventually(lambda: len(receiver.requests) >= 3 and not receiver.answers, 15, what="a request is taken")
    await eventually(lambda: "channel_occupied" in named(receiver.events(), "hook-takeover-2"))
    taken = [event for request in receiver.requests[2:] for event in request.events]
    assert named(taken, "hook-takeover-1").count("channel_occupied") == 1


async def test_without_a_worker_events_wait_and_are_trimmed_once_told(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    client = await clients.open(nodes[0])
    for number in range(5):
        await client.subscribe(f"hook-wait-{number}")
    await eventually(lambda: _queued(dispatching, 5), what="five events wait")
    dispatching.start(receiving(receiver))
    occupied = await receiver.wait_events(5, "channel_occupied")
    assert sorted(event["channel"] for event in occupied) == [f"hook-wait-{number}" for number in range(5)]

    async def is_trimmed() -> bool:
        return bool(await dispatching.redis.xlen(queue_key(APP.id)) <= 1)

    await eventually(is_trimmed)


async def _queued(dispatching: Dispatching, occupied: int) -> bool:
    entries = await dispatching.redis.xrange(queue_key(APP.id))
    return sum(1 for _id, fields in entries if b"channel_occupied" in fields[b"e"]) == occupied


async def test_private_addresses_are_refused_unless_allowed(
    nodes: list[GatewayNode], clients: Clients, receiver: WebhookReceiver, dispatching: Dispatching
) -> None:
    dispatching.start(receiving(receiver), limits=DeliveryLimits(retry_seconds=0, timeout_seconds=1))
    client = await clients.open(nodes[0])
    await client.subscribe("hook-ssrf")

    async def is_given_up() -> bool:
        cursors = await dispatching.redis.hgetall(cursors_key(APP.id))  # type: ignore[misc]  # stub: not only a dict
        newest = await dispatching.redis.xrevrange(queue_key(APP.id), count=1)
        return bool(newest) and newest[0][0] in cursors.values()

    await eventually(is_given_up, what="the events are done with")
    assert not receiver.requests
