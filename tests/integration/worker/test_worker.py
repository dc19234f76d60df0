"""The worker as a process: bells, sweeps, restarts, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from pathlib import Path

import httpx
from arq.connections import ArqRedis
from redis.asyncio import Redis
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_kit.redis import create_redis
from sharedjox_kit.tasks import QUEUE_NAME, RELAY_TASK, WAKE_TOPIC
from sharedjox_outbox.claims import RecordPool
from sharedjox_outbox.writer import OutboxEvent, append
from sharedjox_worker.waking import create_task_queue
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.outbox.conftest import history_numbers, wallet_event
from tests.support.polling import eventually, scaled
from tests.support.processes import clean_environment, python_module

from .conftest import StartWorker

CHANNEL = "private-user.3"


async def commit(engine: AsyncEngine, *events: OutboxEvent) -> None:
    async with engine.begin() as connection:
        await append(connection, events)


async def numbers(redis: Redis, expected: list[int], deadline: float = 5.0) -> None:
    """Wait until the channel's history holds exactly these events, in this order."""

    async def holds() -> bool:
        assert await history_numbers(redis, CHANNEL) == expected
        return True

    await eventually(holds, deadline)


async def seconds_until(redis: Redis, expected: list[int]) -> float:
    started = time.perf_counter()
    while await history_numbers(redis, CHANNEL) != expected:
        assert time.perf_counter() - started < scaled(10)
        await asyncio.sleep(0)
    return time.perf_counter() - started


async def ring(queue: ArqRedis) -> None:
    """What the api does after a commit."""
    await queue.enqueue_job(RELAY_TASK)
    await queue.publish(WAKE_TOPIC, b"1")


async def test_a_bell_is_answered_within_milliseconds(
    engine: AsyncEngine, redis: Redis, redis_url: str, start_worker: StartWorker
) -> None:
    start_worker(RELAY_SWEEP_SECONDS="60")
    queue = create_task_queue(redis_url, retries=0)
    delays = []
    for number in range(1, 21):
        await commit(engine, wallet_event(number))
        await ring(queue)
        delays.append(await seconds_until(redis, list(range(1, number + 1))))
    await queue.aclose()
    assert statistics.median(delays) < scaled(0.1), "a quarter of a second is what arq's own poll takes"


async def test_the_wake_up_alone_is_enough(engine: AsyncEngine, redis: Redis, start_worker: StartWorker) -> None:
    start_worker(RELAY_SWEEP_SECONDS="60")
    await commit(engine, wallet_event(1))
    await redis.publish(WAKE_TOPIC, b"1")
    await numbers(redis, [1])


async def test_the_task_alone_is_enough(
    engine: AsyncEngine, redis: Redis, redis_url: str, start_worker: StartWorker
) -> None:
    """arq's own poll finds it; nothing of it is left afterwards, as it is for a minute of what runs by the clock."""
    start_worker(RELAY_SWEEP_SECONDS="60")
    async with contextlib.aclosing(create_task_queue(redis_url, retries=0)) as queue:
        await commit(engine, wallet_event(1))
        task = await queue.enqueue_job(RELAY_TASK)
        assert task is not None
        await numbers(redis, [1])

        async def nothing_is_left() -> bool:
            is_queued = await redis.zscore(QUEUE_NAME, task.job_id) is not None
            return not is_queued and not await redis.keys(f"arq:*{task.job_id}*")

        await eventually(nothing_is_left)


async def test_a_lost_bell_is_healed_by_the_sweep(engine: AsyncEngine, redis: Redis, start_worker: StartWorker) -> None:
    start_worker()
    await commit(engine, wallet_event(1))
    await numbers(redis, [1], 3)


async def test_rows_committed_while_no_worker_ran(engine: AsyncEngine, redis: Redis, start_worker: StartWorker) -> None:
    await commit(engine, wallet_event(1), wallet_event(2))
    start_worker()
    await numbers(redis, [1, 2])


async def test_a_stuck_queue_does_not_stop_the_relay(
    engine: AsyncEngine, redis: Redis, start_worker: StartWorker
) -> None:
    await redis.set(QUEUE_NAME, "not a sorted set")
    start_worker()
    await commit(engine, wallet_event(1))
    await redis.publish(WAKE_TOPIC, b"1")
    await numbers(redis, [1])


async def test_tasks_that_are_no_json_or_unknown_do_no_harm(
    engine: AsyncEngine, redis: Redis, redis_url: str, start_worker: StartWorker
) -> None:
    worker = start_worker()
    queue = create_task_queue(redis_url, retries=0)
    await queue.enqueue_job("no_such_task")
    await redis.psetex("arq:job:evil", 60_000, b"\x80\x04cposix\nsystem\n.")
    await redis.zadd(QUEUE_NAME, {"evil": 1})
    await commit(engine, wallet_event(1))
    await ring(queue)
    await numbers(redis, [1])

    async def queue_is_empty() -> bool:
        return not await redis.zcard(QUEUE_NAME)

    await eventually(queue_is_empty)
    assert worker.is_running
    await queue.aclose()


async def test_two_workers_and_a_killed_one(
    engine: AsyncEngine, redis: Redis, redis_url: str, outbox_pool: RecordPool, start_worker: StartWorker
) -> None:
    first, _second = start_worker(), start_worker()
    queue = create_task_queue(redis_url, retries=0)
    for number in range(1, 101):
        await commit(engine, wallet_event(number))
        await ring(queue)
        if number == 50:
            first.kill()
    await numbers(redis, list(range(1, 101)), 10)
    assert await outbox_pool.fetchval("SELECT count(*) FROM outbox_messages WHERE published_at IS NULL") == 0
    await queue.aclose()


async def test_redis_restarts_under_a_running_worker(
    engine: AsyncEngine, redis_server: EmbeddedRedis, start_worker: StartWorker
) -> None:
    """Events committed meanwhile arrive, and bells work again afterwards."""
    worker = start_worker(REDIS_URL=redis_server.url)
    await commit(engine, wallet_event(1))
    redis = create_redis(redis_server.url)
    await numbers(redis, [1])
    redis_server.process.kill()
    await commit(engine, wallet_event(2), wallet_event(3))
    await asyncio.to_thread(redis_server.start)
    await numbers(redis, [1, 2, 3], 15)

    async def somebody_listens() -> bool:
        return bool((await redis.pubsub_numsub(WAKE_TOPIC))[0][1])

    await eventually(somebody_listens, 15)
    queue = create_task_queue(redis_server.url, retries=0)
    await commit(engine, wallet_event(4))
    await ring(queue)
    await numbers(redis, [1, 2, 3, 4])
    assert worker.is_running
    await queue.aclose()
    await redis.aclose()


async def test_starts_while_redis_is_away(
    engine: AsyncEngine, redis_server: EmbeddedRedis, start_worker: StartWorker
) -> None:
    await commit(engine, wallet_event(1))
    redis_server.stop()
    worker = start_worker(wait=False, REDIS_URL=redis_server.url)
    await eventually(lambda: "outbox.relay_paused" in worker.log_text, 15)
    await asyncio.to_thread(redis_server.start)
    redis = create_redis(redis_server.url)
    await numbers(redis, [1], 15)
    assert worker.is_running
    await redis.aclose()


async def test_metrics_and_health(engine: AsyncEngine, redis: Redis, start_worker: StartWorker) -> None:
    worker = start_worker()
    await commit(engine, wallet_event(1))
    await numbers(redis, [1])
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{worker.ready_port}") as http:
        ready = await http.get("/readyz")
        assert ready.json() == {"status": "ready", "checks": {"postgres": "ok", "redis": "ok"}}
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/nothing")).status_code == 404

        async def counted() -> bool:
            text = (await http.get("/metrics")).text
            return 'sharedjox_relay_events_total{event="wallet.updated",result="published"} 1.0' in text

        await eventually(counted)


async def test_sigterm_ends_cleanly_and_quickly(engine: AsyncEngine, redis: Redis, start_worker: StartWorker) -> None:
    worker = start_worker()
    await commit(engine, *(wallet_event(number) for number in range(1, 301)))
    await redis.publish(WAKE_TOPIC, b"1")
    started = time.monotonic()
    was_killed = await asyncio.to_thread(worker.stop)
    assert not was_killed
    assert worker.process.returncode == 0
    assert time.monotonic() - started < scaled(5)
    assert "Traceback" not in worker.log_text
    start_worker()
    await numbers(redis, list(range(1, 301)))


async def test_a_taken_port_and_bad_settings_end_with_one_clear_line(postgres_url: str, redis_url: str) -> None:
    async def run(**settings: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *python_module("sharedjox_worker.main"),
            env=clean_environment({"DATABASE_URL": postgres_url, "REDIS_URL": redis_url} | settings),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), scaled(20))
        return process.returncode, errors.decode()

    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", free_port())
    port = server.sockets[0].getsockname()[1]
    status, errors = await run(WORKER_METRICS_PORT=str(port))
    server.close()
    assert status == 2
    assert f"error: WORKER_METRICS_PORT={port}" in errors
    assert "Traceback" not in errors
    assert await run(RELAY_BATCH_ROWS="2000") == (
        2,
        "error: settings: Value error, RELAY_BATCH_ROWS may not exceed HISTORY_LENGTH nor any length in HISTORY_KINDS:"
        " a repeated batch would not be recognized\n",
    )
    status, errors = await run(DATABASE_URL="mysql://x")
    assert (status, errors.startswith("error: DATABASE_URL: ")) == (2, True)


async def test_an_idle_worker_burns_nothing(start_worker: StartWorker) -> None:
    worker = start_worker()

    def cpu_seconds() -> float:
        fields = Path(f"/proc/{worker.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = cpu_seconds()
    await asyncio.sleep(4)  # the measured interval, not a wait for anything
    assert cpu_seconds() - before <= 4 * 0.02
