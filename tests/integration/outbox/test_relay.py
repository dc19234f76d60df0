"""The relay against real servers: what it publishes, in which order, and what it does with rows it cannot publish."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import uuid
from collections import defaultdict

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sharedjox_contracts.codec import decode_json
from sharedjox_contracts.control import AccessChanged, SessionRevoked
from sharedjox_contracts.events import JobClaimed
from sharedjox_contracts.redis_layout import HistoryLimits, log_key, meta_key
from sharedjox_kit.redis import create_redis
from sharedjox_outbox import claims
from sharedjox_outbox.relay import ComeBack, Idle, RelaySettings
from sharedjox_outbox.writer import OutboxEvent, append

from .conftest import APP, Outbox, drain_until_idle, history, history_numbers, wallet_event

ORDER_SEED = 20261123


async def test_nothing_to_do(outbox: Outbox, redis: Redis) -> None:
    assert await outbox.relay(redis).drain() == Idle()


async def test_publishes_in_order_and_marks(outbox: Outbox, redis: Redis) -> None:
    await outbox.add(*(wallet_event(n) for n in range(1, 6)))
    assert await outbox.relay(redis).drain() == Idle()
    assert await history_numbers(redis, "private-user.3") == [1, 2, 3, 4, 5]
    assert await outbox.states() == ["published"] * 5


async def test_the_envelope_carries_what_the_row_says(outbox: Outbox, redis: Redis) -> None:
    event = wallet_event(3)
    event_id = uuid.uuid4()
    await outbox.add(
        OutboxEvent(
            event.payload,
            ("private-user.3",),
            event_id=event_id,
            except_socket_id="12.34",
            request_id="request-1",
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
    )
    await outbox.relay(redis).drain()
    (publication,) = await history(redis, "private-user.3")
    header = publication.header
    assert (header.event, header.event_id) == ("wallet.updated", str(event_id))
    assert (header.except_socket_id, header.request_id) == ("12.34", "request-1")
    assert header.traceparent == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ((created_us,),) = await outbox.sql(
        "SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM outbox_messages"
    )
    assert header.committed_at_us == created_us
    frame = decode_json(publication.frame, dict)
    assert (frame["id"], frame["channel"], frame["event"]) == (str(event_id), "private-user.3", "wallet.updated")
    assert frame["data"].startswith('{"userId":3,"newBalance":145.00,"availableBalance":145.00,')


async def test_an_event_for_two_channels_has_one_id_and_a_position_on_each(outbox: Outbox, redis: Redis) -> None:
    moment = wallet_event(1).payload.timestamp  # type: ignore[attr-defined]
    await outbox.add(OutboxEvent(JobClaimed(1, 3, moment, 100, moment), ("private-job.1", "private-user.2")))
    await outbox.relay(redis).drain()
    (on_job,), (on_user,) = await history(redis, "private-job.1"), await history(redis, "private-user.2")
    assert on_job.header.event_id == on_user.header.event_id
    assert on_job.offset == on_user.offset == 1


async def test_a_backlog_longer_than_a_batch(outbox: Outbox, redis: Redis) -> None:
    channels = [f"private-user.{n}" for n in range(1, 8)]
    await outbox.add(*(wallet_event(n, channels[n % 7]) for n in range(1, 701)))
    await outbox.relay(redis, settings=RelaySettings(batch_rows=50, repeat_rows_per_channel=50)).drain()
    for number, channel in enumerate(channels):
        assert await history_numbers(redis, channel) == [n for n in range(1, 701) if n % 7 == number]


@pytest.mark.parametrize("seed", range(3))
async def test_commit_order_per_channel_with_many_writers_and_relays(outbox: Outbox, redis_url: str, seed: int) -> None:
    """Writers with random delays before their commits, four relays at once: history shows the order of the commits."""
    chance = random.Random(ORDER_SEED + seed)
    channels = [f"private-user.{n}" for n in range(1, 6)]
    written: dict[str, list[int]] = defaultdict(list)
    numbers = iter(range(1, 10_000))
    writing = asyncio.Event()
    small = RelaySettings(batch_rows=7, shards_per_claim=2, repeat_rows_per_channel=7)

    async def write() -> None:
        for _ in range(25):
            chosen = chance.sample(channels, chance.randint(1, 3))
            number = next(numbers)
            async with outbox.engine.connect() as connection:
                await connection.begin()
                # Something else in the transaction first, so that ids and commits are far apart.
                await asyncio.sleep(chance.random() * 0.004)
                await append(connection, [wallet_event(number, *chosen)])
                await asyncio.sleep(chance.random() * 0.004)
                # The locks are still held: nobody else can be between this line and the commit on these channels.
                for channel in chosen:
                    written[channel].append(number)
                await connection.commit()

    async def relay_until_done() -> None:
        client = create_redis(redis_url, retries=0)
        relay = outbox.relay(client, settings=small)
        while not writing.is_set() or "pending" in await outbox.states():
            result = await relay.drain()
            await asyncio.sleep(result.after_seconds if isinstance(result, ComeBack) else 0.001)
        await client.aclose()

    async with asyncio.TaskGroup() as group:
        relays = [group.create_task(relay_until_done()) for _ in range(4)]
        async with asyncio.TaskGroup() as writers:
            for _ in range(6):
                writers.create_task(write())
        writing.set()
    assert all(relay.done() for relay in relays)
    client = create_redis(redis_url)
    for channel in channels:
        assert await history_numbers(client, channel) == written[channel]
    await client.aclose()
    assert sum(map(len, written.values())) > 200


async def test_a_relay_whose_shard_is_taken_comes_back_shortly(outbox: Outbox, redis: Redis) -> None:
    await outbox.add(wallet_event(1))
    async with outbox.pool.acquire() as connection, connection.transaction():
        claim = await claims.lock_shards(connection, except_channels=[], limit=16)
        assert len(claim.locked) == 1
        result = await outbox.relay(redis).drain()
        assert isinstance(result, ComeBack)
        assert result.after_seconds <= 0.1
    assert await outbox.relay(redis).drain() == Idle()
    assert await history_numbers(redis, "private-user.3") == [1]


class TestRowsThatCannotBePublished:
    """They are parked; their channel goes on."""

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ("event_name = 'job.exploded'", "unknown event"),
            ("payload = '{}'", "missing required field"),
            ("payload = '[1]'", "Expected `object`"),
            ("payload = jsonb_set(payload, '{userId}', '\"x\"')", "Expected `int`"),
            ("channel = E'private-user.3\\n'", "invalid channel name"),
            ("channel = 'a b'", "invalid channel name"),
        ],
    )
    async def test_parked(self, outbox: Outbox, redis: Redis, change: str, reason: str) -> None:
        await outbox.add(*(wallet_event(n) for n in range(1, 4)))
        statement = f"UPDATE outbox_messages SET {change} WHERE id = (SELECT min(id) + 1 FROM outbox_messages)"  # noqa: S608 - the test's own
        await outbox.sql(statement)
        assert await outbox.relay(redis).drain() == Idle()
        assert await history_numbers(redis, "private-user.3") == [1, 3]
        assert await outbox.states() == ["published", "parked", "published"]
        ((error, attempts),) = await outbox.sql(
            "SELECT last_error, attempts FROM outbox_messages WHERE parked_at IS NOT NULL"
        )
        assert reason in str(error)
        assert attempts == 1
        assert (await claims.read_lag(outbox.pool)).parked == 1

    async def test_too_large(self, outbox: Outbox, redis: Redis) -> None:
        await outbox.add(wallet_event(1), wallet_event(2))
        await outbox.sql(
            "UPDATE outbox_messages SET event_name = 'notification.created', payload = jsonb_build_object("
            "'id', 1, 'userId', 1, 'type', 'x', 'title', 't', 'body', repeat('x', 70000), 'jobId', null,"
            " 'createdAt', '2026-02-21T10:30:00Z', 'timestamp', '2026-02-21T10:30:00Z')"
            " WHERE id = (SELECT min(id) FROM outbox_messages)"
        )
        await outbox.relay(redis).drain()
        assert await outbox.states() == ["parked", "published"]

    async def test_a_released_row_is_published_late(self, outbox: Outbox, redis: Redis) -> None:
        await outbox.add(wallet_event(1))
        await outbox.sql("UPDATE outbox_messages SET event_name = 'job.exploded'")
        relay = outbox.relay(redis)
        await relay.drain()
        await outbox.sql("UPDATE outbox_messages SET event_name = 'wallet.updated', parked_at = NULL")
        await relay.drain()
        assert await history_numbers(redis, "private-user.3") == [1]


async def test_one_broken_channel_does_not_stop_the_others(outbox: Outbox, redis: Redis) -> None:
    """A key of another type: neither an outage nor the row's fault. The channel rests, and is tried again."""
    await redis.set(log_key(APP, "private-user.1"), "not a stream")
    await redis.hset(meta_key(APP, "private-user.1"), mapping={"e": "epoch", "o": "0"})  # type: ignore[misc]
    await outbox.add(*(wallet_event(n, f"private-user.{n % 3}") for n in range(1, 10)))
    relay = outbox.relay(redis)
    assert isinstance(await relay.drain(), ComeBack)
    assert await history_numbers(redis, "private-user.2") == [2, 5, 8]
    assert (await outbox.states()).count("pending") == 3
    await redis.delete(log_key(APP, "private-user.1"))
    await drain_until_idle(relay)
    assert await history_numbers(redis, "private-user.1") == [1, 4, 7]


async def test_a_row_that_never_succeeds_is_parked_in_the_end(outbox: Outbox, redis: Redis) -> None:
    await redis.set(meta_key(APP, "private-user.3"), "not a hash")
    await outbox.add(wallet_event(1))
    await outbox.sql("UPDATE outbox_messages SET attempts = 7")
    await outbox.relay(redis).drain()
    assert await outbox.states() == ["parked"]


async def test_control_rows_keep_their_place_and_never_reach_history(outbox: Outbox, redis: Redis) -> None:
    seen: list[list[int]] = []

    async def on_control(_row: claims.Row, _payload: object) -> None:
        seen.append(await history_numbers(redis, "private-job.1"))

    channel = "private-job.1"
    changes = [OutboxEvent(AccessChanged(channel=channel), (channel,)) for _ in range(2)]
    await outbox.add(wallet_event(1, channel), changes[0], wallet_event(2, channel), changes[1])
    assert await outbox.relay(redis, on_control=on_control).drain() == Idle()
    assert seen == [[1], [1, 2]]
    assert await history_numbers(redis, "private-job.1") == [1, 2]
    assert await outbox.states() == ["published"] * 4


async def test_a_failing_control_row_is_tried_again_and_holds_back_its_channel_only(
    outbox: Outbox, redis: Redis
) -> None:
    failures = iter([ResponseError("no"), ConnectionError("away")])

    async def on_control(row: claims.Row, payload: object) -> None:
        for failure in failures:
            raise failure
        await outbox.on_control(row, payload)  # type: ignore[arg-type]

    await outbox.add(
        OutboxEvent(SessionRevoked(session_id="s"), ("private-user.3",)),
        wallet_event(1),
        wallet_event(2, "private-user.4"),
    )
    relay = outbox.relay(redis, on_control=on_control)
    assert isinstance(await relay.drain(), ComeBack)
    assert await history_numbers(redis, "private-user.4") == [2]
    assert await history_numbers(redis, "private-user.3") == []
    await drain_until_idle(relay)
    assert outbox.controls == [SessionRevoked(session_id="s")]
    assert await history_numbers(redis, "private-user.3") == [1]


async def test_a_batch_must_fit_the_history(outbox: Outbox, redis: Redis) -> None:
    with pytest.raises(ValueError, match="history of 100"):
        outbox.relay(redis, limits=HistoryLimits(length=100))


async def test_pruning_deletes_what_was_published_long_ago_only(outbox: Outbox, redis: Redis) -> None:
    await outbox.add(*(wallet_event(n) for n in range(1, 6)))
    await outbox.sql("UPDATE outbox_messages SET event_name = 'x.y' WHERE id = (SELECT max(id) FROM outbox_messages)")
    await outbox.relay(redis).drain()
    await outbox.add(wallet_event(6))
    await outbox.sql("UPDATE outbox_messages SET published_at = published_at - interval '2 days' WHERE id % 2 = 0")
    old = await outbox.sql("SELECT id FROM outbox_messages WHERE published_at < now() - interval '1 day'")
    assert await claims.prune(outbox.pool, keep=dt.timedelta(days=1), limit=1) == 1
    assert await claims.prune(outbox.pool, keep=dt.timedelta(days=1), limit=100) == len(old) - 1
    left = await outbox.states()
    assert left.count("parked") == 1
    assert left.count("pending") == 1
    lag = await claims.read_lag(outbox.pool)
    assert (lag.depth, lag.parked) == (1, 1)
    assert 0 <= lag.oldest_seconds < 60


async def test_statements_stay_on_their_index_whatever_the_statistics_say(outbox: Outbox, redis: Redis) -> None:
    """Statistics from a time when everything was pending once led the planner through all published rows."""
    await outbox.add(*(wallet_event(n, f"private-user.{n % 20}") for n in range(3000)))
    await outbox.sql("ANALYZE outbox_messages")
    await outbox.relay(redis).drain()
    for statement, arguments in (
        (claims._SELECT_PENDING, ([3, 5], [], 100)),
        (claims._LOCK_SHARDS, ([], 4)),
    ):
        plan = "\n".join(row[0] for row in await outbox.pool.fetch(f"EXPLAIN {statement}", *arguments))
        assert "ix_outbox_messages_pending" in plan
        assert "outbox_messages_pkey" not in plan
        assert "Seq Scan" not in plan
