"""deploy/balancer/haproxy.cfg, run for real: TLS, client addresses, origins, stickiness, a gateway taken away."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sharedjox_devstack.ports import http_status
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.gateway import APP, GatewayNode, PusherClient
from tests.support.node_client import node_client
from tests.support.polling import eventually
from tests.support.processes import REPOSITORY

from .conftest import CONNECTIONS_PER_ADDRESS, ORIGIN, REQUESTS_PER_ADDRESS, Site

CROWDED = ("127.0.0.8", 0)
JOB = {
    "title": "Behind a balancer",
    "budgetMin": 5,
    "budgetMax": 9,
    "requiredSkills": ["haproxy"],
    "estimatedDuration": 30,
}


async def open_client(site: Site, **options: Any) -> PusherClient:
    """A raw Pusher client over WSS. `options` go to `connect`."""
    url = options.pop("url", site.balancer.websocket_url)
    socket = await connect(
        url, ssl=site.balancer.trust, ping_interval=None, compression=None, proxy=None, close_timeout=2, **options
    )
    client = PusherClient(APP, socket)
    await client.start()
    return client


@pytest.fixture
async def public(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """HTTPS from outside."""
    async with httpx.AsyncClient(base_url=site.balancer.https_url, verify=site.balancer.trust) as http:
        yield http


async def log_in(http: httpx.AsyncClient, who: str) -> dict[str, Any]:
    answer = await http.post("/api/auth/login", json={"email": f"{who}@sharedjox.test", "password": "password"})
    assert answer.status_code == 200, answer.text
    login: dict[str, Any] = answer.json()
    return login


async def test_figures_and_probes_are_not_shown_outside(public: httpx.AsyncClient) -> None:
    assert [(await public.get(path)).status_code for path in ("/metrics", "/readyz", "/healthz")] == [404, 404, 404]


async def test_plain_http_leads_to_https(site: Site) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{site.balancer.http_port}/api/jobs?limit=1")
    assert (answer.status_code, answer.headers["location"].partition("/api")[0]) == (
        308,
        f"https://127.0.0.1:{site.balancer.http_port}",
    )


async def test_old_tls_is_refused(site: Site) -> None:
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{site.balancer.https_port}", "-tls1_1"),
        *("-cipher", "ALL:@SECLEVEL=0"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    assert process.returncode != 0
    assert b"alert protocol version" in complaint or b"unsupported protocol" in complaint


async def test_every_answer_carries_the_request_id_that_the_services_log(public: httpx.AsyncClient, site: Site) -> None:
    answer = await public.get("/api/auth/me")
    request_id = answer.headers["x-request-id"]
    assert len(request_id) == 36
    assert answer.status_code == 401
    for service in (site.balancer.service, site.stack.api):  # both log when the answer is on its way
        await eventually(lambda service=service: request_id in service.log_text, what=f"{service.name} logs it")


async def test_a_forged_forwarded_header_does_not_change_the_address(site: Site) -> None:
    client = await open_client(
        site,
        local_addr=("127.0.0.7", 0),
        additional_headers={"X-Forwarded-For": "203.0.113.66", "X-Real-IP": "203.0.113.66", "Forwarded": "for=1.2.3.4"},
    )
    lines = await eventually(lambda: opened_lines(site, client.socket_id))
    await client.close()
    assert [line["address"] for line in lines] == ["127.0.0.7"]


def opened_lines(site: Site, socket_id: str) -> list[dict[str, Any]]:
    return [
        line
        for node in site.gateways
        for text in node.service.log_text.splitlines()
        if "connection.opened" in text and (line := json.loads(text))["socket_id"] == socket_id
    ]


async def test_connections_are_limited_by_the_callers_address_not_the_balancers(site: Site) -> None:
    sockets = []
    try:
        # Each gateway counts for itself, so one more than both may hold is refused for certain.
        for _ in range(2 * CONNECTIONS_PER_ADDRESS + 1):
            sockets.append(await connect(site.balancer.websocket_url, ssl=site.balancer.trust, local_addr=CROWDED))
        await eventually(lambda: 4100 in {socket.close_code for socket in sockets})
        assert sum(socket.close_code is None for socket in sockets) >= CONNECTIONS_PER_ADDRESS
        other = await open_client(site, local_addr=("127.0.0.9", 0))
        await other.close()
    finally:
        for socket in sockets:
            await socket.close()


async def test_rest_is_limited_by_the_callers_address(site: Site) -> None:
    statuses = {}
    for address, count in (("127.0.0.10", REQUESTS_PER_ADDRESS + 5), ("127.0.0.11", 1)):
        transport = httpx.AsyncHTTPTransport(verify=site.balancer.trust, local_address=address)
        async with httpx.AsyncClient(base_url=site.balancer.https_url, transport=transport) as http:
            statuses[address] = [(await http.get("/api/auth/me")).status_code for _ in range(count)]
    assert 429 in statuses["127.0.0.10"]
    assert statuses["127.0.0.11"] == [401]


async def test_a_foreign_origin_is_closed_with_4009(site: Site) -> None:
    async with connect(
        site.balancer.websocket_url, ssl=site.balancer.trust, additional_headers={"Origin": "https://evil.test"}
    ) as socket:
        await socket.wait_closed()
    assert socket.close_code == 4009


async def test_the_apps_own_origin_may_connect(site: Site) -> None:
    client = await open_client(site, additional_headers={"Origin": ORIGIN})
    await client.round_trip()
    await client.close()


async def test_cors_allows_the_apps_origin_only(public: httpx.AsyncClient) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    good = await public.options("/broadcasting/auth", headers=asked | {"Origin": ORIGIN})
    evil = await public.options("/broadcasting/auth", headers=asked | {"Origin": "https://evil.test"})
    assert good.headers.get("access-control-allow-origin") == ORIGIN
    assert "access-control-allow-origin" not in evil.headers


async def test_websockets_also_work_below_a_prefix(site: Site) -> None:
    client = await open_client(site, url=site.balancer.websocket_url.replace("/app/", "/realtime/app/"))
    await client.round_trip()
    await client.close()


async def test_the_signed_api_reaches_a_gateway(public: httpx.AsyncClient) -> None:
    answer = await public.get(f"/apps/{APP.id}/channels")
    assert answer.status_code == 401
    assert "server" not in answer.headers


async def test_connections_spread_over_both_gateways(site: Site) -> None:
    clients = [await open_client(site) for _ in range(10)]
    held = [await node.metric("sharedjox_gateway_connections") for node in site.gateways]
    for client in clients:
        await client.close()
    assert min(held) >= 4


async def test_echo_joins_and_hears_over_wss(
    site: Site, public: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(site.balancer.certificate))
    login = await log_in(public, "client")
    bearer = {"Authorization": f"Bearer {login['accessToken']}"}
    auth = {"transport": "ajax", "endpoint": f"{site.balancer.https_url}/broadcasting/auth", "headers": bearer}
    options = {"forceTLS": True, "enabledTransports": ["ws", "wss"], "channelAuthorization": auth}
    async with node_client(site.balancer.https_port, library="echo", options=options) as echo:
        await echo.subscribe("jobs.discovery")
        await echo.listen("jobs.discovery", ".job.posted")
        await echo.subscribe(f"private-user.{login['user']['id']}")
        answer = await public.post("/api/jobs", json=JOB, headers=bearer)
        assert answer.status_code == 201, answer.text
        posted = await echo.wait_event(".job.posted", channel="jobs.discovery")
    assert posted.data["job"]["id"] == answer.json()["id"]


async def test_the_smoke_test_of_compose_passes(site: Site) -> None:
    """It is what somebody runs after a deployment, so it has to keep up with the platform."""
    smoke = await asyncio.create_subprocess_exec(
        *(sys.executable, str(REPOSITORY / "deploy" / "compose" / "smoke.py"), site.balancer.https_url),
        *("--certificate", str(site.balancer.certificate)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await smoke.communicate()
    assert smoke.returncode == 0, said.decode()
    assert said.decode().startswith("ok: ")


async def test_a_fallback_session_stays_with_one_gateway(site: Site, public: httpx.AsyncClient) -> None:
    sessions = [f"{number}/{number:08d}" for number in range(24)]
    for _ in range(3):
        for session in sessions:
            await public.post(f"/pusher/app/{APP.key}/{session}/xhr_send", content=b"[]")

    def served() -> dict[str, list[str]]:
        return {session: site.balancer.served_by("fallbacks", f"/{session}/") for session in sessions}

    await eventually(lambda: {len(servers) for servers in served().values()} == {3}, what="all requests are logged")
    assert all(len(set(servers)) == 1 for servers in served().values()), served()
    assert {servers[0] for servers in served().values()} == {"gateway-1", "gateway-2"}


async def test_a_draining_gateways_clients_find_the_other_one_and_miss_nothing(
    site: Site, public: httpx.AsyncClient
) -> None:
    login = await log_in(public, "client")
    bearer = {"Authorization": f"Bearer {login['accessToken']}"}
    clients = [await open_client(site) for _ in range(20)]
    positions = [(await client.subscribe("jobs.discovery"))["position"] for client in clients]
    leaving = [client for client in clients if is_on(site.gateways[0], client)]
    assert leaving

    async def post() -> int:
        answer = await public.post("/api/jobs", json=JOB, headers=bearer)
        job_id: int = answer.json()["id"]
        return job_id

    posted = [await post() for _ in range(3)]
    site.gateways[0].service.process.request_stop()
    try:
        while any(client.close_code is None for client in leaving):
            posted.append(await post())
        posted.append(await post())
        assert {client.close_code for client in leaving} == {4200}
        seen = await asyncio.gather(
            *(hear_everything(site, *pair, posted[-1]) for pair in zip(clients, positions, strict=True))
        )
        assert seen == [posted] * len(clients)
    finally:
        for client in clients:
            await client.close()
        site.gateways[0].service.process.finish_stop()
        site.gateways[0].service.start()


def is_on(node: GatewayNode, client: PusherClient) -> bool:
    """Whether this gateway has the client's connection."""
    return f'"socket_id":"{client.socket_id}"' in node.service.log_text


async def hear_everything(site: Site, client: PusherClient, position: dict[str, Any], last_job: int) -> list[int]:
    """The jobs that a client heard of, with what its successor got by asking for the rest by position."""
    if client.close_code is None:
        await eventually(lambda: last_job in jobs_in(client))
        return jobs_in(client)
    offset = max((frame.message["offset"] for frame in client.of("job.posted")), default=position["offset"])
    successor = await open_client(site)
    answer = await successor.subscribe("jobs.discovery", recover={"epoch": position["epoch"], "offset": offset})
    assert answer["recovered"] is True
    await eventually(lambda: last_job in jobs_in(successor))
    await successor.close()
    return jobs_in(client) + jobs_in(successor)


def jobs_in(client: PusherClient) -> list[int]:
    return [frame.data["job"]["id"] for frame in client.of("job.posted")]


async def test_a_killed_gateways_clients_reconnect_at_once(site: Site) -> None:
    clients = [await open_client(site) for _ in range(10)]
    leaving = [client for client in clients if is_on(site.gateways[1], client)]
    assert leaving
    site.gateways[1].kill()
    try:
        await eventually(lambda: all(client.close_code is not None for client in leaving), what="sockets ended")
        again = [await open_client(site) for _ in leaving]
        for client in again:
            await client.round_trip()
        for client in (*clients, *again):
            await client.close()
    finally:
        site.gateways[1].service.start()


async def test_without_redis_connections_are_still_accepted(site: Site) -> None:
    site.stack.redis.stop()
    try:
        await eventually(lambda: readiness(site) == {503}, 20)
        await eventually(lambda: is_served(site), 20, what="a connection through the balancer")
    finally:
        site.stack.redis.start()
    await eventually(lambda: readiness(site) == {200}, 20)


def readiness(site: Site) -> set[int | None]:
    return {http_status(node.port, "/readyz") for node in site.gateways}


async def is_served(site: Site) -> bool:
    """Whether a connection is accepted and answered."""
    try:
        client = await open_client(site)
    except (OSError, InvalidStatus):
        return False
    await client.round_trip()
    await client.close()
    return True
