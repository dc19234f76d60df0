"""Faults made on a running platform, each an async context that heals it again on leaving.

A fault goes on for as long as the context does, as the alerts want it: a counter that appears with its first incident
has no rate until there is a second one. Servers are started by the test's own thread: they end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg
import httpx
from redis.asyncio import Redis
from sharedjox_contracts.redis_layout import watermark_key
from sharedjox_outbox.postgres import asyncpg_address
from websockets.asyncio.client import connect

from tests.support.gateway import APP, PusherClient, pusher_client
from tests.support.polling import eventually
from tests.support.publishing import Publisher
from tests.support.raw_websocket import UPGRADE, client_frame, stuck_reader
from tests.support.stack import Stack
from tests.support.tcp_client import dialled

MAX_CONNECTIONS = 40
SETTINGS = {"MAX_CONNECTIONS": str(MAX_CONNECTIONS), "MAX_BUFFER_BYTES": "65536", "CLOSE_TIMEOUT_SECONDS": "1"}
"""Of the platform: rooms that a test can fill."""
JOB = {"title": "Faulty", "budgetMin": 5, "budgetMax": 9, "requiredSkills": ["faults"], "estimatedDuration": 30}
PACE_SECONDS = 0.1


@contextlib.asynccontextmanager
async def meanwhile(again: Callable[[], Awaitable[object]], *, pace: float = PACE_SECONDS) -> AsyncIterator[None]:
    """Do something again and again while the block runs. An error of it fails the test."""

    async def forever() -> None:
        while True:
            await again()
            await asyncio.sleep(pace)

    task = asyncio.create_task(forever())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def database(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the platform's database."""
    connection = await asyncpg.connect(asyncpg_address(stack.env["DATABASE_URL"]))
    try:
        yield connection
    finally:
        await connection.close()


# --- the api and Postgres ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def locked_table(stack: Stack) -> AsyncIterator[None]:
    """Somebody's transaction holds the table of jobs for 0.6 s at a time; whoever reads jobs waits."""
    client = await stack.log_in("client")
    async with client.http() as http, database(stack) as holder, database(stack) as watcher:

        async def waited() -> bool:
            longest = await watcher.fetchval(
                "SELECT extract(epoch FROM max(clock_timestamp() - query_start)) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            return (longest or 0) > 0.6

        async def hold() -> None:
            async with asyncio.TaskGroup() as readers, holder.transaction():
                await holder.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
                for _ in range(4):
                    readers.create_task(http.get("/api/jobs"))
                await eventually(waited, 30)

        async with meanwhile(hold):
            yield


@contextlib.asynccontextmanager
async def postgres_away(stack: Stack) -> AsyncIterator[None]:
    """Postgres is stopped; people go on asking."""
    client = await stack.log_in("client")
    async with client.http() as http:
        stack.postgres.stop()
        try:
            async with meanwhile(lambda: http.get("/api/jobs")):
                yield
        finally:
            stack.postgres.start()
        await eventually(lambda: _answers(http, "/api/jobs"), 30, what="the api found Postgres again")


async def _answers(http: httpx.AsyncClient, path: str) -> bool:
    return (await http.get(path)).status_code == 200


# --- the worker -------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def poisoned_row(stack: Stack) -> AsyncIterator[None]:
    """An event in the outbox of a kind that this version does not know."""
    async with database(stack) as connection:
        row = await connection.fetchval(
            "INSERT INTO outbox_messages (shard, event_id, channel, event_name, payload)"
            " VALUES (0, gen_random_uuid(), 'jobs.discovery', 'job.unheard_of', '{}') RETURNING id"
        )
        yield
        await connection.execute("DELETE FROM outbox_messages WHERE id = $1", row)


@contextlib.asynccontextmanager
async def hanging_worker(stack: Stack) -> AsyncIterator[None]:
    """The worker hangs for half a second whenever something was committed."""
    client = await stack.log_in("client")
    async with client.http() as http, database(stack) as connection, pusher_client(stack.ports.gateway) as listener:
        await listener.subscribe("jobs.discovery")

        async def is_late() -> bool:
            age = "extract(epoch FROM clock_timestamp() - min(created_at)) FROM outbox_messages"
            return (await connection.fetchval(f"SELECT {age} WHERE published_at IS NULL") or 0) > 0.5

        async def hang() -> None:
            heard = len(listener.of("job.posted"))
            stack.worker.freeze()
            try:
                await post_job(http)
                await eventually(is_late, 30)
            finally:
                stack.worker.thaw()
            await listener.wait_for("job.posted", count=heard + 1, deadline=15)

        async with meanwhile(hang):
            yield


async def post_job(http: httpx.AsyncClient) -> None:
    """Commit one event."""
    answer = await http.post("/api/jobs", json=JOB)
    assert answer.status_code == 201, answer.text


@contextlib.asynccontextmanager
async def killed_processes(stack: Stack) -> AsyncIterator[None]:
    """The worker and one of the two gateways are killed."""
    stack.worker.kill()
    stack.gateways[1].kill()
    try:
        yield
    finally:
        stack.worker.start()
        stack.gateways[1].start()


# --- gateways ---------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def no_room(stack: Stack) -> AsyncIterator[None]:
    """More people come than both gateways have room for, and those who were refused try again."""
    async with contextlib.AsyncExitStack() as sockets:

        async def come() -> None:
            for _ in range(5):
                await sockets.enter_async_context(connect(stack.websocket_url, proxy=None, compression=None))

        async with meanwhile(come):
            yield


@contextlib.asynccontextmanager
async def slow_readers(stack: Stack) -> AsyncIterator[None]:
    """People subscribe to a busy channel and never read; when they are closed others like them come."""
    async with Redis.from_url(stack.redis.url) as redis:
        publisher = Publisher(redis)

        async def come_and_hear() -> None:
            async with contextlib.AsyncExitStack() as stuck:
                for _ in range(4):
                    await stuck.enter_async_context(stuck_reader(stack.ports.gateway, "firehose"))
                for number in range(400):
                    await publisher.publish("firehose", {"n": number, "padding": "x" * 30_000})

        async with meanwhile(come_and_hear):
            yield


@contextlib.asynccontextmanager
async def busy_gateway(stack: Stack) -> AsyncIterator[None]:
    """A client that asks as fast as it is answered."""
    async with dialled(stack.ports.gateway) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"connection_established")
        pings = client_frame("pusher:ping", {}) * 1000

        async def ask_and_listen() -> None:
            writer.write(pings)
            heard = 0
            while heard < 500:
                heard += (await reader.read(1 << 20)).count(b"pusher:pong")

        async with meanwhile(ask_and_listen, pace=0):
            yield


def apps_file(folder: Path, *, spelling: str = "secret") -> dict[str, str]:
    """Write a list of applications with the one that there is anyway; returns the setting that names it."""
    app = APP.config()
    app[spelling] = app.pop("secret")
    file = folder / "apps.json"
    file.write_text(json.dumps([app]), encoding="utf-8")
    return {"APPS_FILE": str(file)}


@contextlib.asynccontextmanager
async def broken_apps_file(stack: Stack) -> AsyncIterator[None]:
    """Somebody saves the list of applications with a mistake in it."""
    folder = Path(stack.env["APPS_FILE"]).parent
    apps_file(folder, spelling="sercet")
    try:
        yield
    finally:
        apps_file(folder)


# --- Redis ------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def redis_away(stack: Stack) -> AsyncIterator[None]:
    """Redis hangs and people go on. The rows' clocks are put back, instead of waiting until they are old."""
    client = await stack.log_in("client")
    stack.redis.process.kill()
    try:
        async with client.http() as http, database(stack) as connection:
            await post_job(http)
            await connection.execute(
                "UPDATE outbox_messages SET created_at = created_at - interval '1 minute' WHERE published_at IS NULL"
            )
            async with meanwhile(lambda: post_job(http)):
                yield
    finally:
        stack.redis.start()


@contextlib.asynccontextmanager
async def empty_redis(stack: Stack) -> AsyncIterator[None]:
    """Redis is killed and comes back without its data; people who were authorized stay, others return."""
    client = await stack.log_in("client")
    async with client.http() as http, pusher_client(stack.ports.gateway) as holder:
        position = (await holder.subscribe("jobs.discovery"))["position"]
        await join_own_channel(stack, http, holder, client.id)
        stack.redis.process.kill()
        shutil.rmtree(stack.redis.data_dir)
        stack.redis.start()

        async def come_back() -> None:
            async with pusher_client(stack.ports.gateway) as returning:
                await returning.subscribe("jobs.discovery", recover=position)

        await post_job(http)  # the relay looks whether Redis is still the one it knows
        async with meanwhile(come_back):
            yield


async def join_own_channel(stack: Stack, http: httpx.AsyncClient, client: PusherClient, user_id: int) -> None:
    """Join a private channel with the api's signature, and stay until the gateway has written several marks."""
    channel = f"private-user.{user_id}"
    form = {"socket_id": client.socket_id, "channel_name": channel}
    answer = await http.post("/broadcasting/auth", json=form)
    assert answer.status_code == 200, answer.text
    await client.send("pusher:subscribe", {"channel": channel, **answer.json()})
    await client.answer_to_subscribe(channel)
    redis = Redis.from_url(stack.redis.url)

    async def marks() -> Sequence[int]:
        keys = [key async for key in redis.scan_iter(match=watermark_key(APP.id, "*"))]
        return [mark for mark in map(int, await redis.mget(keys) if keys else []) if mark >= 4]

    try:
        await eventually(marks, 15, what="the gateway's marks are in Redis")
    finally:
        await redis.aclose()
