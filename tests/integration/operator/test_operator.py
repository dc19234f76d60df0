"""`sharedjox` against the running platform: what it says while all is well, and what when something is broken."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from sharedjox_devstack.ports import free_port

from tests.support import operator
from tests.support.gateway import gateway_node, pusher_client
from tests.support.operator import Said
from tests.support.polling import eventually
from tests.support.processes import ServiceProcess, python_module, running
from tests.support.stack import Stack, running_stack

NOBODY = "postgresql://app@127.0.0.1:1/x"
JOB = {"title": "Asked for", "budgetMin": 5, "budgetMax": 9, "requiredSkills": ["ops"], "estimatedDuration": 30}


async def sharedjox(stack: Stack, *arguments: str, **env: str) -> Said:
    """Run the command with the platform's environment."""
    return await operator.sharedjox(*arguments, env=stack.env | env)


@pytest.fixture(scope="module")
def quick_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The platform with a drain that takes two seconds."""
    with running_stack(tmp_path_factory.mktemp("operated"), extra_env={"DRAIN_SECONDS": "2"}) as started:
        yield started


@pytest.fixture
async def redis(quick_stack: Stack) -> AsyncIterator[Redis]:
    client = Redis.from_url(quick_stack.redis.url)
    yield client
    await client.aclose()


async def is_well(stack: Stack) -> str:
    said = await sharedjox(stack, "doctor")
    assert said.status == 0, said.out
    assert "FAIL" not in said.out
    assert "warn" not in said.out
    return said.out


async def doctor_says(stack: Stack, *words: str, status: int = 1, **env: str) -> None:
    async def seen() -> bool:
        said = await sharedjox(stack, "doctor", **env)
        assert said.status == status, said.out
        for word in words:
            assert word in said.out
        return True

    await eventually(seen, 40, what=f"the doctor says {words}")


async def test_a_healthy_platform_is_called_healthy(quick_stack: Stack) -> None:
    said = await eventually(lambda: is_well(quick_stack), 30, what="everybody has reported")
    for what in ("postgres", "schema", "outbox", "parked", "redis", "api", "worker", "gateway", "clocks", "settings"):
        assert f"ok    {what}: " in said
    assert "secret" not in said.replace("keys and secrets agree", "")


@pytest.mark.parametrize(
    ("name", "value", "part"), [("DATABASE_URL", NOBODY, "postgres"), ("REDIS_URL", "redis://127.0.0.1:1", "redis")]
)
async def test_a_server_that_is_away_is_a_finding(quick_stack: Stack, name: str, value: str, part: str) -> None:
    said = await sharedjox(quick_stack, "doctor", **{name: value})
    assert said.status == 1
    assert f"FAIL  {part}: " in said.out
    assert said.err == ""


async def test_a_redis_that_evicts_is_a_failure(quick_stack: Stack, redis: Redis) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        await doctor_says(quick_stack, "FAIL  redis eviction: allkeys-lru")
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")


async def test_a_worker_that_is_gone_is_a_failure(quick_stack: Stack) -> None:
    quick_stack.worker.stop()
    try:
        await doctor_says(quick_stack, "FAIL  worker: none")
    finally:
        quick_stack.worker.start()
    await eventually(lambda: is_well(quick_stack), 40, what="the worker reports again")


async def test_a_gateway_with_another_secret_and_history_is_a_failure(quick_stack: Stack, tmp_path: Path) -> None:
    apps_file = tmp_path / "apps.json"
    apps_file.write_text(json.dumps([{"id": "1001", "key": "sharedjox", "secret": "another"}]), encoding="utf-8")
    env = {"APPS_FILE": str(apps_file), "HISTORY_KINDS": "presence = 600/600"}
    stranger = gateway_node(tmp_path, "stranger", quick_stack.redis.url, env)
    with running(stranger.service):
        await doctor_says(quick_stack, "FAIL  app 1001: ", "the secrets differ")
        await doctor_says(quick_stack, "FAIL  settings: HISTORY_KINDS differs: ", "presence=600/600 in gateway")
    await eventually(lambda: is_well(quick_stack), 40, what="the stranger is gone")


async def test_a_worker_with_another_vapid_key_is_a_failure(quick_stack: Stack, tmp_path: Path) -> None:
    """Push services would refuse everything that it sends to the browsers that registered with the api's."""
    port, key = free_port(), base64.urlsafe_b64encode(b"another vapid key of 32 bytes..!").decode().rstrip("=")
    stranger = ServiceProcess(
        "stranger",
        python_module("sharedjox_worker.main"),
        log_file=tmp_path / "stranger.log",
        env=quick_stack.env | {"VAPID_PRIVATE_KEY": key, "WORKER_METRICS_PORT": str(port)},
        ready_port=port,
    )
    with running(stranger):
        await doctor_says(quick_stack, "FAIL  settings: VAPID_PRIVATE_KEY differs: ")
        assert key not in (await sharedjox(quick_stack, "doctor")).out
    await eventually(lambda: is_well(quick_stack), 40, what="the stranger is gone")


async def test_connections_and_channels_are_counted_over_the_cluster(quick_stack: Stack) -> None:
    async with pusher_client(quick_stack.ports.gateway) as one, pusher_client(quick_stack.ports.gateway) as other:
        for client in (one, other):
            await client.subscribe("jobs.discovery")
        await one.subscribe("private-job.7")

        async def counted() -> bool:
            said = await sharedjox(quick_stack, "channels")
            rows = {line.split()[0]: line.split()[1] for line in said.out.splitlines()[1:]}
            assert rows == {"jobs.discovery": "2", "private-job.7": "1"}
            connected = await sharedjox(quick_stack, "connections")
            assert [line.split() for line in connected.out.splitlines()][-1] == ["1001", "2"]
            return connected.out.count("gateway ") == 2

        await eventually(counted, 20, what="both are counted")
        said = await sharedjox(quick_stack, "channels", "--limit", "1")
        assert "… 1 more" in said.out
        said = await sharedjox(quick_stack, "channels", "--prefix", "private-")
        assert "jobs.discovery" not in said.out


async def test_parked_events_are_listed_replayed_and_discarded(quick_stack: Stack) -> None:
    client = await quick_stack.log_in("client")
    async with client.http() as http:
        assert (await http.post("/api/jobs", json=JOB)).status_code == 201  # an event to copy
    connection = await asyncpg.connect(quick_stack.env["DATABASE_URL"].replace("+asyncpg", ""))
    try:
        parked = await park_some(connection, "jobs.discovery", 3)
    finally:
        await connection.close()
    await doctor_says(quick_stack, "warn  parked: 3 events", status=0)
    listed = await sharedjox(quick_stack, "parked", "list", "--json")
    assert [json.loads(line)["id"] for line in listed.out.splitlines()] == parked

    for wrong in (("replay", "999999"), ("discard", str(parked[0]), "999999")):
        said = await sharedjox(quick_stack, "parked", *wrong)
        assert (said.status, "nothing was changed" in said.err) == (1, True)

    async with pusher_client(quick_stack.ports.gateway) as listener:
        await listener.subscribe("jobs.discovery")
        assert (await sharedjox(quick_stack, "parked", "replay", str(parked[1]))).status == 0
        event = await listener.wait_for("job.posted")
        assert event.data["job"]["title"] == f"parked {parked[1]}"

    gone = await sharedjox(quick_stack, "parked", "discard", str(parked[0]))
    assert json.loads(gone.out)["payload"]["job"]["title"] == f"parked {parked[0]}"
    assert (await sharedjox(quick_stack, "parked", "replay", "--all")).status == 0
    assert (await sharedjox(quick_stack, "parked", "list")).out == "nothing is parked\n"


async def park_some(connection: asyncpg.Connection[asyncpg.Record], channel: str, count: int) -> list[int]:
    """Copies of a published event, set aside as the relay does it; their titles hold their ids."""
    rows = await connection.fetch(
        "INSERT INTO outbox_messages (shard, event_id, channel, event_name, payload, parked_at, last_error)"
        " SELECT shard, gen_random_uuid(), channel, event_name, payload, clock_timestamp(), 'poisoned'"
        " FROM (SELECT * FROM outbox_messages WHERE channel = $1 AND event_name = 'job.posted' ORDER BY id LIMIT 1),"
        " generate_series(1, $2) RETURNING id",
        channel,
        count,
    )
    ids = sorted(row["id"] for row in rows)
    assert len(ids) == count
    await connection.execute(
        "UPDATE outbox_messages SET payload = jsonb_set(payload, '{job,title}', to_jsonb('parked ' || id::text))"
        " WHERE id = ANY ($1::bigint[])",
        ids,
    )
    return ids


async def test_draining_needs_a_name_that_is_one_gateways(quick_stack: Stack) -> None:
    said = await sharedjox(quick_stack, "drain", "nobody")
    assert (said.status, "no gateway is called nobody" in said.err) == (1, True)


async def test_a_drained_gateway_sends_its_clients_away_and_ends(quick_stack: Stack) -> None:
    first, second = quick_stack.gateways
    second.stop()
    async with pusher_client(quick_stack.ports.gateway) as client:
        second.start()
        (name,) = await eventually(lambda: gateways_with(quick_stack, 1), 30, what="the first gateway reports")
        said = await sharedjox(quick_stack, "drain", name)
        assert said.status == 0, said.err
        assert said.out.endswith(f"{name} is empty and has ended\n")
        assert await client.wait_closed(10) == 4200
    assert await eventually(lambda: first.process.returncode == 0, 20, what="it ended by itself")
    await doctor_says(quick_stack, "warn  gateway: ", status=0)
    alone = await eventually(lambda: gateways_with(quick_stack, 0), 30, what="the second one reports")
    said = await sharedjox(quick_stack, "drain", *alone)
    assert (said.status, "--alone" in said.err) == (1, True)
    first.start()


async def gateways_with(stack: Stack, connections: int) -> list[str]:
    """Ids of the gateways with so many connections; none is not yet an answer."""
    said = await sharedjox(stack, "connections")
    lines = [line.split() for line in said.out.splitlines() if line.startswith("gateway ")]
    found = [line[1] for line in lines if line[3] == str(connections)]
    assert found
    return found
