"""HTTP/1.1 as clients, proxies and attackers speak it: pipelines, chunks, slow bodies, limits, mixed upstreams."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.publication import decode_publication
from sharedjox_contracts.redis_layout import log_key
from sharedjox_devstack.redis import EmbeddedRedis

from tests.support.gateway import APP, Clients, GatewayNode, running_gateways
from tests.support.http_api import ApiConnection, call, sign_request, trigger
from tests.support.polling import eventually

from .conftest import Connect

EVENT = {"name": "e", "channels": ["wire"], "data": "{}"}
UPGRADE = (
    f"GET /app/{APP.key}?protocol=7 HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {b64encode(b'0123456789abcdef').decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"


def event_request(*headers: str) -> bytes:
    return sign_request("POST", "/events", EVENT).encode(*headers)


async def test_a_head_without_end_is_refused(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(b"POST /apps/1/events HTTP/1.1\r\nX-Long: ")
    for _ in range(64):  # more than arrives at once
        await connection.send(b"x" * 16_384)
    assert (await connection.answer()).status == 431
    await connection.ended()


async def test_a_request_line_without_end_is_dropped(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(b"POST /apps/" + b"x" * 70_000)
    assert (await connection.ended()).startswith((b"", b"HTTP/1.1 4"))


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /apps/1/events HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /apps/1/events HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /apps/1/events HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /apps/1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /apps/1/events HTTP/1.1\r\nBad Header: 1\r\n\r\n",
        b"POST /apps/1/events HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"POST /apps/1/events NONSENSE\r\n\r\n",
    ],
)
async def test_what_could_smuggle_a_request_is_refused(node: GatewayNode, request_: bytes, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(request_ + HEALTH)
    assert (await connection.answer()).status == 400
    assert b"HTTP/1.1 2" not in await connection.ended()


SMUGGLED = b"Content-Length: 0\r\n"
"""A length behind the one that counts for whoever does not look."""


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Content-Length: ", SMUGGLED + b"Content-Length: ", 400),
        (b"Content-Length: ", b"Transfer-Encoding: chunked\r\nContent-Length: ", 400),
        (b"Content-Length: ", b"Content-Length: -", 400),
        (b"Content-Length: ", b"Content-Length: 99999999", 413),
        (b"Host: gateway", b"Host: gateway\r\n folded: x", 400),
        (b"Host: gateway", b"Bad Header: x\r\nHost: gateway", 400),
        (b"auth_version=1.0", b"auth_version=2.0", 401),
        (b"auth_signature=", b"auth_signature=0", 401),
        (b'"data"', b'"Data"', 401),
        (b" HTTP/1.1", b" HTTP/9.1", 400),
        (b"/events?", b"/ events?", 400),
    ],
)
async def test_behind_a_request_that_was_passed_others_are_looked_at_as_closely(
    node: GatewayNode, connect: Connect, old: bytes, new: bytes, status: int
) -> None:
    """Heads that were seen before take a short way; what differs in anything does not slip through it."""
    connection = await connect(node)
    for _ in range(3):
        await connection.send(event_request())
        assert (await connection.answer()).body == b"{}"
    request = event_request()
    assert old in request
    await connection.send(request.replace(old, new, 1) + HEALTH)
    assert (await connection.answer()).status == status


async def test_requests_are_taken_however_they_are_cut(node: GatewayNode, clients: Clients, connect: Connect) -> None:
    """The short way takes whole requests only; what is cut anywhere goes on the long one and back."""
    client = await clients.open(node)
    await client.subscribe("cut")
    connection = await connect(node)
    requests = [
        sign_request("POST", "/events", {"name": "e", "channels": ["cut"], "data": str(number)}).encode()
        for number in range(40)
    ]
    whole, sizes = b"".join(requests), (1, 150, 400, 1000, 333, 7, 2500)
    at = step = 0
    while at < len(whole):
        await connection.send(whole[at : at + sizes[step % len(sizes)]])
        at += sizes[step % len(sizes)]
        step += 1
        await asyncio.sleep(0)
    for _ in requests:
        assert (await connection.answer()).body == b"{}"
    await client.wait_for("e", count=len(requests))
    assert [frame.data for frame in client.of("e")] == list(range(len(requests)))


async def test_what_a_header_asks_for_is_not_forgotten_for_having_been_seen(
    node: GatewayNode, connect: Connect
) -> None:
    for _ in range(3):
        connection = await connect(node)
        await connection.send(event_request())
        assert "connection" not in (await connection.answer()).headers
        await connection.send(event_request("Connection: close"))
        answer = await connection.answer()
        assert (answer.body, answer.headers["connection"]) == (b"{}", "close")
        assert await connection.ended() == b""


async def test_a_trace_goes_with_its_event_and_with_no_other(node: GatewayNode, connect: Connect, redis: Redis) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    connection = await connect(node)
    for headers in ((), (), (f"traceparent: {trace}", "X-Request-Id: r-1"), ()):
        body = {"name": "e", "channels": ["traced"], "data": "{}"}
        await connection.send(sign_request("POST", "/events", body).encode(*headers))
        assert (await connection.answer()).body == b"{}"
    entries = await redis.xrange(log_key(APP.id, "traced"))
    seen = [decode_publication(fields[b"m"]).header for _, fields in entries]
    assert [(header.traceparent, header.request_id) for header in seen] == [("", "")] * 2 + [(trace, "r-1"), ("", "")]


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_huge_body_is_refused_before_it_is_taken(node: GatewayNode, is_chunked: bool, connect: Connect) -> None:
    connection = await connect(node)
    if is_chunked:
        await connection.send(b"POST /apps/1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):
            await connection.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    else:
        await connection.send(b"POST /apps/1/events HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 5000)
    answer = await connection.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert "too large" in answer.text
    await connection.ended()


async def test_a_body_that_does_not_come_is_timed_out(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(event_request()[:-5])
    answer = await connection.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")


async def test_a_head_that_does_not_come_is_timed_out(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(b"POST /apps/1/events HTTP/1.1\r\n")
    assert (await connection.answer()).status == 408


async def test_a_connection_that_says_nothing_is_dropped(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(b"POST /ap")
    assert await connection.ended() == b""


async def test_an_idle_connection_is_closed(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(event_request())
    assert (await connection.answer()).status == 200
    assert await connection.ended() == b""


async def test_the_process_survives_nonsense(node: GatewayNode, connect: Connect) -> None:
    for start in (
        b"\x00" * 100,
        b"POST /apps/\r\n\r\n",
        b"GET /apps/ HTTP/9.9\r\n\r\n",
        b"/apps/ POST\r\n\r\n",
        b"\r\n\r\n",
    ):
        connection = await connect(node)
        await connection.send(start)
        await connection.ended()
    assert (await trigger(node, "wire", "e")).status == 200


# --- good manners -----------------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_their_order(
    node: GatewayNode, clients: Clients, connect: Connect
) -> None:
    client = await clients.open(node)
    await client.subscribe("pipeline")
    requests = []
    for number in range(150):
        body = {"name": "e", "channels": ["pipeline"], "data": str(number)}
        requests.append(sign_request("POST", "/events", body).encode())
        if number % 3 == 0:
            requests.append(sign_request("GET", "/channels/pipeline").encode())
        if number % 7 == 0:
            requests.append(sign_request("GET", "/nowhere").encode())
    connection = await connect(node)
    sending = asyncio.create_task(connection.send(b"".join(requests)))
    for request in requests:
        answer = await connection.answer()
        expected = (
            (404, None) if b"/nowhere?" in request else (200, {"occupied": True} if request[:3] == b"GET" else {})
        )
        assert (answer.status, answer.json if answer.status == 200 else None) == expected
    await sending
    await client.wait_for("e", count=150)
    assert [frame.data for frame in client.of("e")] == list(range(150))


async def test_a_request_may_come_byte_by_byte(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    for byte in event_request():
        await connection.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await connection.answer()).body == b"{}"


async def test_a_chunked_body_is_put_together(node: GatewayNode, connect: Connect) -> None:
    request = sign_request("POST", "/events", EVENT)
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(request.body[at : at + 7]), request.body[at : at + 7])
        for at in range(0, len(request.body), 7)
    )
    connection = await connect(node)
    head = f"POST {request.target} HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    await connection.send(head + chunks + b"0\r\n\r\n")
    assert (await connection.answer()).body == b"{}"


async def test_a_client_that_waits_for_100_gets_it(node: GatewayNode, connect: Connect) -> None:
    """curl, and with it PHP, asks before it sends larger bodies."""
    request = sign_request("POST", "/events", EVENT)
    connection = await connect(node)
    await connection.send(request.encode("Expect: 100-continue")[: -len(request.body)])
    assert (await connection.answer()).status == 100
    await connection.send(request.body)
    assert (await connection.answer()).body == b"{}"


async def test_an_offer_of_another_protocol_is_passed_over(node: GatewayNode, connect: Connect) -> None:
    """Java's client offers HTTP/2 with its first request."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA")
    connection = await connect(node)
    await connection.send(event_request(*offer) + event_request())
    assert (await connection.answer()).body == b"{}"
    assert (await connection.answer()).body == b"{}"
    await connection.send(sign_request("GET", "/channels").encode(*offer) + event_request())
    assert "channels" in (await connection.answer()).json
    assert (await connection.answer()).body == b"{}"


async def test_connection_close_is_obeyed(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(event_request("Connection: close") + event_request())
    answer = await connection.answer()
    assert (answer.body, answer.headers["connection"]) == (b"{}", "close")
    assert await connection.ended() == b""


@pytest.mark.parametrize("keeps", [False, True])
async def test_http_1_0_closes_unless_asked(node: GatewayNode, keeps: bool, connect: Connect) -> None:
    request = event_request(*(["Connection: keep-alive"] if keeps else [])).replace(b" HTTP/1.1", b" HTTP/1.0")
    connection = await connect(node)
    await connection.send(request)
    answer = await connection.answer()
    assert answer.headers["connection"] == ("keep-alive" if keeps else "close")
    if keeps:
        await connection.send(request)
        assert (await connection.answer()).body == b"{}"


async def test_a_client_that_has_sent_all_still_gets_its_answer(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(event_request())
    connection.writer.write_eof()
    assert (await connection.answer()).body == b"{}"
    assert await connection.ended() == b""


@pytest.mark.parametrize("line", [b"PUT /nowhere", f"POST /pusher/app/{APP.key}/1/abcdefgh/xhr".encode()])
async def test_who_leaves_in_the_middle_of_a_body_is_no_failure_of_ours(
    node: GatewayNode, connect: Connect, line: bytes
) -> None:
    before = len(node.service.log_text)
    connection = await connect(node)
    await connection.send(line + b" HTTP/1.1\r\nHost: gateway\r\nContent-Length: 500\r\n\r\nbeginning")
    connection.writer.write_eof()
    await connection.ended()
    assert (await trigger(node, "wire", "e")).status == 200
    assert "ClientDisconnect" not in node.service.log_text[before:]


async def test_a_body_for_another_process_is_not_taken_whole_when_it_is_too_large(
    nodes: list[GatewayNode], connect: Connect
) -> None:
    def request(kind: str, length: int) -> bytes:
        path = f"/pusher/app/{APP.key}/1/elsewhere/{kind}?protocol=7"
        return f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {length}\r\n\r\n".encode()

    receiving = await connect(nodes[0])
    await receiving.send(request("xhr_streaming", 0))
    await receiving.reader.readuntil(b"connection_established")
    sending = await connect(nodes[1])
    await sending.send(request("xhr_send", 1 << 40))
    await sending.send(b"x" * 300_000)  # over four times MAX_MESSAGE_BYTES, and far from whole
    assert (await sending.answer()).status == 413


async def test_the_target_may_be_absolute(node: GatewayNode, connect: Connect) -> None:
    request = event_request().replace(b"POST /apps", b"POST http://gateway:80/apps")
    connection = await connect(node)
    await connection.send(request)
    assert (await connection.answer()).body == b"{}"


async def test_answers_carry_a_date(node: GatewayNode) -> None:
    assert (await trigger(node, "wire", "e")).headers["date"].endswith(" GMT")


# --- one upstream connection for everything ---------------------------------------------------------------------------


async def read_socket(connection: ApiConnection) -> None:
    head = await connection.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert b"pusher:connection_established" in await connection.reader.readuntil(b"}")


async def test_health_api_and_socket_share_a_connection(node: GatewayNode, connect: Connect) -> None:
    """Balancers reuse upstream connections for whatever comes next."""
    connection = await connect(node)
    for _ in range(2):
        for request in (
            HEALTH,
            event_request(),
            event_request(),
            HEALTH,
            HEALTH,
            sign_request("GET", "/channels").encode(),
        ):
            await connection.send(request)
            assert (await connection.answer()).status == 200
    await connection.send(UPGRADE)
    await read_socket(connection)


async def test_a_socket_may_follow_on_health(node: GatewayNode, connect: Connect) -> None:
    connection = await connect(node)
    await connection.send(HEALTH)
    assert (await connection.answer()).json == {"status": "ok"}
    await connection.send(UPGRADE)
    await read_socket(connection)


async def test_an_api_request_behind_a_pipelined_one_is_answered_by_fastapi(
    node: GatewayNode, connect: Connect
) -> None:
    connection = await connect(node)
    await connection.send(HEALTH + event_request() + sign_request("GET", "/nowhere").encode() + HEALTH)
    assert [(await connection.answer()).status for _ in range(4)] == [200, 200, 404, 200]


# --- Redis away, drain ------------------------------------------------------------------------------------------------


async def test_without_redis_publishers_are_told_to_come_back(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url, count=1, env={"PROBE_SECONDS": "0.5"}) as (node,):
        clients = Clients()
        client = await clients.open(node)
        await client.subscribe("outage")
        assert (await trigger(node, "outage", "e", "1", id="one")).status == 200
        redis_server.stop()
        for answer in (
            await trigger(node, "outage", "e", "2", id="two"),
            await call(node, "GET", "/channels"),
            await call(node, "POST", f"/apps/{APP.id}/users/7/terminate_connections", {}),
        ):
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.text.startswith("The gateway cannot reach Redis")
        redis_server.start()

        async def published() -> bool:
            return (await trigger(node, "outage", "e", "2", id="two")).status == 200

        await eventually(published, 15)
        await eventually(lambda: [frame.data for frame in client.of("e")] == [1, 2], 10)
        await clients.close()


async def test_a_redis_that_forgot_its_scripts_gets_them_again(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url, count=1) as (node,):
        assert (await trigger(node, "scripts", "e")).status == 200
        redis_server.run_command("SCRIPT FLUSH")
        assert (await trigger(node, "scripts", "e")).status == 200


async def test_a_stopping_gateway_answers_what_is_under_way(
    tmp_path: Path, redis_server: EmbeddedRedis, connect: Connect
) -> None:
    with running_gateways(tmp_path, redis_server.url, count=1) as (node,):
        idle, busy = await connect(node), await connect(node)
        for connection in (idle, busy):
            await connection.send(event_request())
            assert (await connection.answer()).status == 200
        request = event_request()
        await busy.send(request[:-10])
        stopping = asyncio.create_task(asyncio.to_thread(node.service.stop))
        assert await idle.ended() == b""
        await busy.send(request[-10:])
        answer = await busy.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await stopping


async def test_metrics_count_answers_and_events(tmp_path: Path, redis_server: EmbeddedRedis, connect: Connect) -> None:
    with running_gateways(tmp_path, redis_server.url, count=1) as (node,):
        for _ in range(3):
            await trigger(node, "metrics", "e")
        await trigger(node, "not valid", "e")
        connection = await connect(node)
        await connection.send(b"GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n")
        text = (await connection.answer()).text
    assert 'sharedjox_gateway_api_answers_total{endpoint="events",status="200"} 3.0' in text
    assert 'sharedjox_gateway_api_answers_total{endpoint="events",status="400"} 1.0' in text
    assert 'sharedjox_gateway_api_seconds_count{endpoint="events"} 4.0' in text
    assert "sharedjox_gateway_api_events_total 3.0" in text
    assert json.dumps("not valid") not in text
