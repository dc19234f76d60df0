import asyncio
import contextlib

import httpx
import pytest
from sharedjox_kit.health import AdminServer, Health
from sharedjox_kit.metrics import create_registry

from tests.support.tcp_client import dialled


async def fine() -> None:
    """A dependency that answers."""


async def broken() -> None:
    raise ConnectionRefusedError("port closed\nsecond line")


async def hanging() -> None:
    await asyncio.Event().wait()


async def test_readiness_names_each_dependency() -> None:
    health = Health({"a": fine, "b": broken, "c": hanging}, timeout_seconds=0.05)
    readiness = await health.readiness()
    assert not readiness.is_ready
    assert dict(readiness.checks) == {
        "a": "ok",
        "b": "ConnectionRefusedError: port closed",
        "c": "no answer within 0.05 s",
    }


async def test_draining_is_not_ready_though_all_answer() -> None:
    health = Health({"a": fine})
    assert (await health.readiness()).is_ready
    health.start_draining()
    assert not (await health.readiness()).is_ready


@pytest.fixture
def health() -> Health:
    return Health({"a": fine})


async def test_admin_server(health: Health) -> None:
    registry = create_registry(service="test", version="1")
    async with (
        AdminServer(host="127.0.0.1", port=0, health=health, registry=registry) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.bound_port}") as http,
    ):
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/readyz?verbose=1")).json() == {"status": "ready", "checks": {"a": "ok"}}
        metrics = await http.get("/metrics")
        assert 'sharedjox_build_info{service="test",version="1"} 1.0' in metrics.text
        assert metrics.headers["content-type"].startswith("text/plain")
        assert (await http.head("/healthz")).content == b""
        assert (await http.post("/healthz")).status_code == 405
        assert (await http.get("/secrets")).status_code == 404
        health.start_draining()
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize("garbage", [b"", b"\r\n\r\n", b"\x16\x03\x01" + b"\x00" * 50 + b"\r\n\r\n", b"A" * 20_000])
async def test_admin_server_survives_garbage(health: Health, garbage: bytes) -> None:
    registry = create_registry(service="test", version="1")
    async with AdminServer(host="127.0.0.1", port=0, health=health, registry=registry) as server:
        async with dialled(server.bound_port) as (reader, writer):
            writer.write(garbage)
            writer.write_eof()
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{server.bound_port}/healthz")
        assert answer.status_code == 200
