"""Connecting: every refusal is an accepted upgrade with its close code, as browsers need it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sharedjox_devstack.redis import EmbeddedRedis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.gateway import APP, Clients, GatewayNode, TestApp, open_pusher, running_gateways
from tests.support.polling import eventually, scaled
from tests.support.raw_websocket import client_frame
from tests.support.tcp_client import dialled

GOOD = "protocol=7&client=js&version=8.6.0&flash=false"


async def refused_with(port: int, path: str, origin: str | None = None) -> tuple[int, int]:
    """The code of the in-band error and of the close frame."""
    headers = {} if origin is None else {"Origin": origin}
    async with connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers, proxy=None) as socket:
        message = json.loads(await socket.recv())
        assert message["event"] == "pusher:error"
        assert isinstance(message["data"], dict), "an object, not JSON in a string"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        return message["data"]["code"], socket.close_code or 0


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/app/nobody?{GOOD}", 4001),
        (f"/?{GOOD}", 4005),
        (f"/apps/sharedjox?{GOOD}", 4005),
        ("/app/sharedjox?protocol=7.5", 4006),
        ("/app/sharedjox?protocol=x", 4006),
        ("/app/sharedjox?protocol=4", 4007),
        ("/app/sharedjox?protocol=8", 4007),
        ("/app/sharedjox", 4008),
    ],
)
async def test_refused_with_the_code_in_band_and_in_the_close_frame(gateway: GatewayNode, path: str, code: int) -> None:
    assert await refused_with(gateway.port, path) == (code, code)


async def test_limits_origins_and_switches_of_apps(tmp_path: Path, redis_url: str) -> None:
    small, closed, picky = TestApp("1", "small", "s1"), TestApp("2", "closed", "s2"), TestApp("3", "picky", "s3")
    apps = [
        small.config(limits={"max_connections": 1}),
        closed.config(enabled=False),
        picky.config(allowed_origins=["https://app.test", "*.trusted.test"]),
    ]
    with running_gateways(tmp_path, redis_url, count=1, apps=apps, env={"MAX_CONNECTIONS": "3"}) as (node,):
        assert await refused_with(node.port, f"/app/closed?{GOOD}") == (4003, 4003)
        assert await refused_with(node.port, f"/app/picky?{GOOD}", "https://evil.test") == (4009, 4009)
        clients = Clients()
        await clients.open(node, small)
        assert await refused_with(node.port, f"/app/small?{GOOD}") == (4004, 4004)
        await clients.open(node, picky)
        await clients.open(node, picky)
        assert await refused_with(node.port, f"/app/picky?{GOOD}") == (4100, 4100)
        await clients.close()
        again = await open_pusher(node.port, small)
        await again.close()


@pytest.mark.parametrize("query", [GOOD, "protocol=5&client=java-client&version=2.4", "protocol=6", "version=8.6.0"])
async def test_the_first_frame_has_string_data_and_a_timeout(gateway: GatewayNode, query: str) -> None:
    client = await open_pusher(gateway.port, query=query)
    first = client.frames[0].message
    assert first["event"] == "pusher:connection_established"
    assert isinstance(first["data"], str)
    assert json.loads(first["data"]) == {"socket_id": client.socket_id, "activity_timeout": 120}
    await client.close()


async def test_socket_ids_are_two_numbers_and_never_the_same(gateways: list[GatewayNode], clients: Clients) -> None:
    opened = [await clients.open(node) for node in gateways for _ in range(5)]
    identities = {client.socket_id for client in opened}
    assert len(identities) == 10
    assert all(part.isdigit() for identity in identities for part in identity.split("."))


async def test_a_path_prefix_is_allowed(gateway: GatewayNode) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/some/prefix/app/{APP.key}?{GOOD}", proxy=None) as socket:
        assert json.loads(await socket.recv())["event"] == "pusher:connection_established"


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET /app/sharedjox HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"426"),
        (
            "GET /app/sharedjox HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
            b"400",
        ),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        ("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        ("\x16\x03\x01\x02\r\n\r\n", b"400"),
        ("GET /" + "a" * 100_000 + " HTTP/1.1\r\nHost: x\r\n\r\n", b"4"),
    ],
)
async def test_what_is_no_websocket_gets_an_http_answer(gateway: GatewayNode, request_text: str, status: bytes) -> None:
    async with dialled(gateway.port) as (reader, writer):
        writer.write(request_text.encode())
        assert (await reader.readline()).split()[1].startswith(status)


async def test_a_head_may_come_byte_by_byte_with_a_frame_right_behind_it(gateway: GatewayNode) -> None:
    head = (
        f"GET /app/{APP.key}?{GOOD} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with dialled(gateway.port) as (reader, writer):
        for byte in head[:-1].encode():
            writer.write(bytes((byte,)))
            await writer.drain()
        writer.write(head[-1:].encode() + client_frame("pusher:ping", {}))
        assert b"101" in await reader.readline()
        await reader.readuntil(b"connection_established")
        await reader.readuntil(b"pusher:pong")


async def test_silent_and_slow_handshakes_are_dropped(tmp_path: Path, redis_url: str) -> None:
    with running_gateways(tmp_path, redis_url, count=1, env={"HANDSHAKE_TIMEOUT_SECONDS": "0.6"}) as (node,):
        for said in (b"", b"GET /app/sharedjox HTTP/1.1\r\n"):
            async with dialled(node.port) as (reader, writer):
                writer.write(said)
                assert await dropped(reader)


async def dropped(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection without a word, by FIN or RST."""
    async with asyncio.timeout(scaled(5)):
        try:
            return await reader.read(1) == b""
        except ConnectionResetError:
            return True


async def test_a_gateway_without_redis_is_not_ready_but_alive(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with running_gateways(tmp_path, redis_server.url, count=1) as (node,):
        redis_server.stop()

        async def status(path: str) -> bytes:
            async with dialled(node.port) as (reader, writer):
                writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
                return (await reader.readline()).split()[1]

        async def readiness_is(code: bytes) -> bool:
            return await status("/readyz") == code

        await eventually(lambda: readiness_is(b"503"), 10)
        assert await status("/healthz") == b"200"
        redis_server.start()
        await eventually(lambda: readiness_is(b"200"), 10)
