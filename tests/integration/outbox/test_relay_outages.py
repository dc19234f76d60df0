"""The relay when Redis or the relay itself dies: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.control import SessionRevoked
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_kit.redis import create_redis
from sharedjox_outbox.postgres import create_relay_pool
from sharedjox_outbox.relay import ComeBack, Idle, Relay, RelaySettings
from sharedjox_outbox.writer import OutboxEvent
from structlog.testing import capture_logs

from tests.support.polling import eventually, scaled
from tests.support.processes import clean_environment
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

from .conftest import Outbox, drain_until_idle, history, history_numbers, wallet_event

CHANNEL = "private-user.3"
END_RELAY_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'sharedjox-relay' AND datname = current_database()"
)


def client_of(server: EmbeddedRedis | int) -> Redis:
    port = server if isinstance(server, int) else server.port
    return create_redis(f"redis://127.0.0.1:{port}/0", retries=0, timeout_seconds=1.0)


async def test_away_at_first_then_there(outbox: Outbox, redis_server: EmbeddedRedis) -> None:
    redis_server.stop()
    redis = client_of(redis_server)
    relay = outbox.relay(redis)
    await outbox.add(wallet_event(1), wallet_event(2))
    delays = []
    for _ in range(8):
        result = await relay.drain()
        assert isinstance(result, ComeBack)
        delays.append(result.after_seconds)
    assert all(0.02 <= delay <= 2.0 for delay in delays), "backoff without a busy loop"
    assert max(delays) > 0.5
    assert await outbox.states() == ["pending", "pending"]
    assert await outbox.sql("SELECT max(attempts) FROM outbox_messages") == [(0,)], "an outage is not the row's fault"
    redis_server.start()
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == [1, 2]
    await redis.aclose()


async def test_killed_and_back_with_its_data(outbox: Outbox, redis_server: EmbeddedRedis) -> None:
    redis = client_of(redis_server)
    relay = outbox.relay(redis)
    await outbox.add(*(wallet_event(n) for n in range(1, 11)))
    await relay.drain()
    epoch = (await history(redis, CHANNEL))[0].epoch
    redis_server.process.kill()
    await outbox.add(*(wallet_event(n) for n in range(11, 21)))
    assert isinstance(await relay.drain(), ComeBack)
    redis_server.start()
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == list(range(1, 21))
    assert (await history(redis, CHANNEL))[-1].epoch == epoch
    await redis.aclose()


async def test_back_without_what_it_had_confirmed_last(outbox: Outbox, redis_server: EmbeddedRedis) -> None:
    """A lost tail (a snapshot, a replica that lagged) is published again in its old place: same offsets."""
    redis = client_of(redis_server)
    relay = outbox.relay(redis)
    await outbox.add(*(wallet_event(n) for n in range(1, 6)))
    await relay.drain()
    log_file = next((redis_server.data_dir / "appendonlydir").glob("*.incr.aof"))
    size = log_file.stat().st_size
    await outbox.add(*(wallet_event(n) for n in range(6, 11)))
    await relay.drain()
    before = [(one.epoch, one.offset, one.header.event_id) for one in await history(redis, CHANNEL)]
    redis_server.process.kill()
    with log_file.open("r+b") as file:
        file.truncate(size)
    await outbox.add(*(wallet_event(n) for n in range(11, 16)))
    redis_server.start()
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == list(range(1, 16))
    after = [(one.epoch, one.offset, one.header.event_id) for one in await history(redis, CHANNEL)]
    assert after[:10] == before
    await redis.aclose()


async def _said_of_history(outbox: Outbox, relay: Relay, number: int) -> list[tuple[str, dict[str, object]]]:
    """Publish one more event: how loud it was said that history was made good, and of what."""
    await outbox.add(wallet_event(number))
    with capture_logs() as logs:
        await drain_until_idle(relay)
    lines = [line for line in logs if line["event"].startswith("outbox.history_")]
    return [(line.pop("log_level"), {name: line[name] for name in line.keys() - {"event", "since"}}) for line in lines]


async def test_only_what_redis_had_forgotten_is_worth_a_warning(outbox: Outbox, redis: Redis) -> None:
    relay = outbox.relay(redis)
    said = await _said_of_history(outbox, relay, 1)
    assert said == [("info", {"repeated": 0, "forgotten": 0})], "the first start: there is nothing to repair"
    assert outbox.metrics.repairs._value.get() == 0
    await redis.script_flush()
    said = await _said_of_history(outbox, relay, 2)
    assert said == [("info", {"repeated": 1, "forgotten": 0})], "Redis was restarted and has everything"
    assert outbox.metrics.repairs._value.get() == 1
    await redis.flushall()
    await redis.script_flush()
    said = await _said_of_history(outbox, relay, 3)
    assert said == [("warning", {"repeated": 2, "forgotten": 2})]
    assert await _said_of_history(outbox, relay, 4) == []
    assert await history_numbers(redis, CHANNEL) == [1, 2, 3, 4]


async def test_back_empty(outbox: Outbox, redis_server: EmbeddedRedis) -> None:
    """Another epoch, beginning with what was published last: a gateway may not have heard of it."""
    redis = client_of(redis_server)
    relay = outbox.relay(redis)
    await outbox.add(wallet_event(1), OutboxEvent(SessionRevoked(session_id="s"), (CHANNEL,)), wallet_event(2))
    await relay.drain()
    epoch = (await history(redis, CHANNEL))[0].epoch
    await redis.flushall()
    await redis.script_flush()
    await outbox.add(wallet_event(3))
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == [1, 2, 3]
    assert (await history(redis, CHANNEL))[0].epoch != epoch
    assert outbox.controls == [SessionRevoked(session_id="s")] * 2, "commands may be lost with Redis too"
    await redis.aclose()


async def test_a_hole_that_cannot_be_filled_begins_another_epoch(outbox: Outbox, redis: Redis) -> None:
    """More was lost than is repeated: subscribers must be told, not shown a history with a hole."""
    settings = RelaySettings(batch_rows=5, repeat_rows_per_channel=5)
    relay = outbox.relay(redis, settings=settings)
    await outbox.add(*(wallet_event(n) for n in range(1, 4)))
    await relay.drain()
    epoch = (await history(redis, CHANNEL))[0].epoch
    kept = await redis.dump("sj:{1001:private-user.3}:log"), await redis.dump("sj:{1001:private-user.3}:meta")
    await outbox.add(*(wallet_event(n) for n in range(4, 21)))
    await relay.drain()
    for key, value in zip(("log", "meta"), kept, strict=True):
        await redis.restore(f"sj:{{1001:private-user.3}}:{key}", 0, value, replace=True)
    await redis.script_flush()
    await outbox.add(wallet_event(21))
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == [16, 17, 18, 19, 20, 21]
    assert (await history(redis, CHANNEL))[0].epoch != epoch
    await redis.aclose()


async def test_forgotten_scripts_alone_change_nothing(outbox: Outbox, redis: Redis) -> None:
    """More events in the window than are repeated, all still in history: no other epoch, no repeat."""
    relay = outbox.relay(redis, settings=RelaySettings(batch_rows=5, repeat_rows_per_channel=5))
    await outbox.add(*(wallet_event(n) for n in range(1, 21)))
    await relay.drain()
    epoch = (await history(redis, CHANNEL))[0].epoch
    await redis.script_flush()
    await outbox.add(wallet_event(21))
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == list(range(1, 22))
    assert (await history(redis, CHANNEL))[0].epoch == epoch
    assert outbox.metrics.repeats._value.get() == 5


async def test_only_what_was_published_last_is_repeated(outbox: Outbox, redis: Redis) -> None:
    settings = RelaySettings(replay_window=dt.timedelta(seconds=10), replay_reach=dt.timedelta(minutes=10))
    relay = outbox.relay(redis, settings=settings)
    await outbox.add(*(wallet_event(n) for n in range(1, 5)))
    await relay.drain()
    await outbox.sql(
        "UPDATE outbox_messages SET published_at = published_at - interval '11 seconds'"
        " WHERE id <= (SELECT min(id) + 1 FROM outbox_messages)"
    )
    await redis.flushall()
    await redis.script_flush()
    await outbox.add(wallet_event(5))
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == [3, 4, 5]


async def test_nothing_old_is_repeated_into_an_empty_redis(outbox: Outbox, redis: Redis) -> None:
    relay = outbox.relay(redis)
    await outbox.add(wallet_event(1))
    await relay.drain()
    await outbox.sql("UPDATE outbox_messages SET published_at = published_at - interval '11 minutes'")
    await redis.flushall()
    await redis.script_flush()
    await outbox.add(wallet_event(2))
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == [2]


@pytest.mark.parametrize("half", ["request", "answer"])
async def test_connection_lost_in_the_middle_of_publishing(
    outbox: Outbox, redis_server: EmbeddedRedis, redis_proxy: TcpProxy, half: str
) -> None:
    """Whether Redis got the events or not, they end up in history once."""
    redis, direct = client_of(redis_proxy.port), client_of(redis_server)
    relay = outbox.relay(redis)
    await outbox.add(wallet_event(1))
    await drain_until_idle(relay)
    await outbox.add(*(wallet_event(n) for n in range(2, 50)))
    if half == "request":
        redis_proxy.half_open = True
    else:
        redis_proxy.delay_seconds = 0.4
    draining = asyncio.create_task(relay.drain())
    if half == "answer":

        async def has_arrived() -> bool:
            return len(await history(direct, CHANNEL)) > 1

        await eventually(has_arrived)
        await redis_proxy.cut()
    assert isinstance(await draining, ComeBack)
    assert (await outbox.states()).count("pending") == 48
    await redis_proxy.cut()
    redis_proxy.half_open, redis_proxy.delay_seconds = False, 0.0
    await drain_until_idle(relay)
    assert await history_numbers(direct, CHANNEL) == list(range(1, 50))
    assert set(await outbox.states()) == {"published"}
    await redis.aclose()
    await direct.aclose()


@pytest.mark.parametrize(
    ("setting", "value", "restored"),
    [("maxmemory", "1", "0"), ("min-replicas-to-write", "3", "0"), ("busy", "", "")],
)
async def test_a_redis_that_refuses_to_write(
    outbox: Outbox, redis_server: EmbeddedRedis, setting: str, value: str, restored: str
) -> None:
    redis = client_of(redis_server)
    relay = outbox.relay(redis)
    await outbox.add(wallet_event(1))
    await relay.drain()
    if setting == "busy":
        await redis.replicaof("127.0.0.1", "1")  # read-only, as after a failover
    else:
        await redis.config_set(setting, value)
    await outbox.add(wallet_event(2))
    assert isinstance(await relay.drain(), ComeBack)
    assert await outbox.states() == ["published", "pending"]
    if setting == "busy":
        await redis.replicaof("NO", "ONE")
    else:
        await redis.config_set(setting, restored)
    await drain_until_idle(relay)
    assert await history_numbers(redis, CHANNEL) == [1, 2]
    await redis.aclose()


async def test_killed_between_publish_and_mark(
    outbox: Outbox, empty_postgres_url: str, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """A relay process stops after Redis' answer and before its mark, and gets SIGKILL: exactly once all the same."""
    await outbox.add(*(wallet_event(n) for n in range(1, 31)))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("relay_that_stops.py")),
        empty_postgres_url,
        redis_url,
        env=clean_environment({"PYTHONPATH": str(Path(__file__).parents[3])}),
    )

    async def has_published() -> bool:
        return len(await history(redis, CHANNEL)) == 30

    try:
        await eventually(has_published, 20)
        state = Path(f"/proc/{process.pid}/stat")
        await eventually(lambda: state.read_text("ascii").split()[2] == "T", what="the relay has stopped itself")
        assert await outbox.states() == ["pending"] * 30
        rival = outbox.relay(redis)
        assert isinstance(await rival.drain(), ComeBack), "its locks are still held"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await outbox.add(wallet_event(31))
    await drain_until_idle(rival)
    assert await history_numbers(redis, CHANNEL) == list(range(1, 32))
    assert await outbox.states() == ["published"] * 31
    assert outbox.metrics.repeats._value.get() == 30


async def test_a_connection_that_has_read_the_servers_farewell_and_not_its_end_is_replaced(
    outbox: Outbox, redis: Redis, empty_postgres_url: str
) -> None:
    url = urlsplit(empty_postgres_url)
    async with tcp_proxy(url.port or 5432) as proxy:
        pool = await create_relay_pool(url._replace(netloc=f"{url.username}@127.0.0.1:{proxy.port}").geturl(), size=1)
        relay = Outbox(outbox.engine, pool).relay(redis)
        await outbox.add(wallet_event(1))
        await relay.drain()
        proxy.holds_ends = True
        await outbox.sql(END_RELAY_CONNECTIONS)
        await eventually(lambda: proxy.held_ends, what="the farewell has been read")
        await outbox.add(wallet_event(2))
        async with asyncio.timeout(scaled(10)):
            await drain_until_idle(relay)
        assert await history_numbers(redis, CHANNEL) == [1, 2]
        pool.terminate()


async def test_a_postgres_that_goes_silent_does_not_hold_the_relay_up(
    outbox: Outbox, redis: Redis, empty_postgres_url: str
) -> None:
    url = urlsplit(empty_postgres_url)
    async with tcp_proxy(url.port or 5432) as proxy:
        there = url._replace(netloc=f"{url.username}@127.0.0.1:{proxy.port}").geturl()
        pool = await create_relay_pool(there, size=1, command_seconds=0.2)
        relay = Outbox(outbox.engine, pool).relay(redis)
        await outbox.add(wallet_event(1))
        await relay.drain()
        proxy.half_open = True
        await outbox.add(wallet_event(2))
        async with asyncio.timeout(scaled(10)):
            assert isinstance(await relay.drain(), ComeBack)
        proxy.half_open = False
        async with asyncio.timeout(scaled(10)):
            await drain_until_idle(relay)
        assert await history_numbers(redis, CHANNEL) == [1, 2]
        pool.terminate()


async def test_postgres_gone_for_a_moment(outbox: Outbox, redis: Redis) -> None:
    relay = outbox.relay(redis)
    await outbox.add(wallet_event(1))
    await relay.drain()
    await outbox.add(wallet_event(2))
    await outbox.sql(END_RELAY_CONNECTIONS)
    async with asyncio.timeout(scaled(10)):
        await drain_until_idle(relay)
    assert await relay.drain() == Idle()
    assert await history_numbers(redis, CHANNEL) == [1, 2]
