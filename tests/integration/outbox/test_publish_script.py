"""The scripts that publish: offsets without holes, epochs, repeats, trimming, cache channels."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sharedjox_contracts.frames import close_event_frame, open_event_frame
from sharedjox_contracts.publication import Header, decode_publication, encode_header, publish_arguments, publish_keys
from sharedjox_contracts.redis_layout import (
    PUBLISH_MANY_SCRIPT,
    PUBLISH_SCRIPT,
    REFRESH_SHARE,
    REPEAT_WINDOW,
    SHARDED_PUBLISH_SCRIPT,
    HistoryLimits,
    last_key,
    live_topic,
    log_key,
    meta_key,
)
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_kit.redis import create_redis

from .conftest import APP, history

CHANNEL = "private-user.3"
NOW = 1_750_000_000_000
FOREVER = HistoryLimits(length=1000, age_seconds=3600)
SLACK = FOREVER.age_seconds * 1000 // REFRESH_SHARE


def opened(event_id: str, channel: str = CHANNEL) -> bytes:
    return open_event_frame(event="wallet.updated", channel=channel, data="{}", event_id=event_id)


async def run_script(redis: Redis, script: str, channel: str, arguments: Sequence[bytes | str | int]) -> list[Any]:
    keys = publish_keys(APP, channel)
    answer: list[Any] = await cast(
        "Awaitable[Any]", redis.eval(script, len(keys), *keys, *cast("list[str]", arguments))
    )
    return answer


async def publish(
    redis: Redis,
    event_id: str,
    *,
    channel: str = CHANNEL,
    now: int = NOW,
    limits: HistoryLimits = FOREVER,
    cache_ms: int = 0,
    epoch: str = "epoch-one",
) -> tuple[bool, str, int]:
    arguments = publish_arguments(
        event_id=event_id,
        opened_frame=opened(event_id, channel),
        header=Header(event="wallet.updated", event_id=event_id),
        candidate_epoch=epoch,
        now_ms=now,
        limits=limits,
        cache_ms=cache_ms,
    )
    fresh, answered_epoch, offset = await run_script(redis, PUBLISH_SCRIPT, channel, arguments)
    return bool(fresh), answered_epoch.decode(), offset


async def publish_many(redis: Redis, *event_ids: str, limits: HistoryLimits = FOREVER, now: int = NOW) -> list[int]:
    triples: list[bytes | str] = []
    for event_id in event_ids:
        triples += [event_id, opened(event_id), encode_header(Header(event="wallet.updated", event_id=event_id))]
    numbers = [now, limits.length, limits.age_seconds * 1000, limits.meta_seconds * 1000, 0]
    answer = await run_script(redis, PUBLISH_MANY_SCRIPT, CHANNEL, ["epoch-one", *numbers, *triples])
    return list(answer[1:])


async def test_offsets_count_from_one_in_the_first_candidates_epoch(redis: Redis) -> None:
    answers = [await publish(redis, f"e{n}", epoch=f"candidate-{n}") for n in range(1, 6)]
    assert answers == [(True, "candidate-1", n) for n in range(1, 6)]
    assert [one.header.event_id for one in await history(redis, CHANNEL)] == ["e1", "e2", "e3", "e4", "e5"]


async def test_the_frame_is_what_the_python_side_says(redis: Redis) -> None:
    await publish(redis, "e1")
    (publication,) = await history(redis, CHANNEL)
    assert publication.frame == close_event_frame(opened("e1"), epoch="epoch-one", offset=1)
    assert json.loads(publication.frame)["offset"] == 1
    assert publication.is_durable


async def test_a_repeat_changes_nothing_and_announces_nothing(redis: Redis) -> None:
    async with redis.pubsub() as live:
        await live.subscribe(live_topic(APP, CHANNEL))
        await publish(redis, "e1")
        await publish(redis, "e2")
        before = await redis.dump(log_key(APP, CHANNEL)), await redis.hgetall(meta_key(APP, CHANNEL))  # type: ignore[misc]
        assert await publish(redis, "e1", epoch="another", now=NOW + 5000) == (False, "epoch-one", 1)
        after = await redis.dump(log_key(APP, CHANNEL)), await redis.hgetall(meta_key(APP, CHANNEL))  # type: ignore[misc]
        assert after == before
        await publish(redis, "e3")
        announced: list[str] = []
        while len(announced) < 3:
            message = await live.get_message(ignore_subscribe_messages=True, timeout=2)
            if message is not None:
                announced.append(decode_publication(message["data"]).header.event_id)
    assert announced == ["e1", "e2", "e3"]


async def test_history_is_trimmed_by_length(redis: Redis) -> None:
    limits = HistoryLimits(length=3)
    for n in range(1, 11):
        await publish(redis, f"e{n}", limits=limits)
    assert [one.offset for one in await history(redis, CHANNEL)] == [8, 9, 10]
    meta = await redis.hgetall(meta_key(APP, CHANNEL))  # type: ignore[misc]
    assert {key for key in meta if key.startswith(b"i:")} == {b"i:e8", b"i:e9", b"i:e10"}


async def test_a_lowered_length_takes_effect_with_the_next_event(redis: Redis) -> None:
    for n in range(1, 101):
        await publish(redis, f"e{n}")
    await publish(redis, "last", limits=HistoryLimits(length=10))
    assert [one.offset for one in await history(redis, CHANNEL)] == list(range(92, 102))


async def test_history_is_trimmed_by_age_a_few_at_a_time(redis: Redis) -> None:
    for n in range(1, 11):
        await publish(redis, f"e{n}")
    later = NOW + 3_600_001
    await publish(redis, "new-1", now=later)
    assert [one.offset for one in await history(redis, CHANNEL)] == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    for n in range(2, 7):
        await publish(redis, f"new-{n}", now=later)
    assert [one.header.event_id for one in await history(redis, CHANNEL)] == [f"new-{n}" for n in range(1, 7)]


async def test_history_expires_but_the_position_goes_on(redis: Redis) -> None:
    for n in range(1, 4):
        await publish(redis, f"e{n}")
    longest = FOREVER.age_seconds * 1000 * (1 + 1 / REFRESH_SHARE)
    assert FOREVER.age_seconds * 1000 - 60_000 < await redis.pttl(log_key(APP, CHANNEL)) <= longest
    assert await redis.pttl(meta_key(APP, CHANNEL)) > 2 * longest
    await redis.delete(log_key(APP, CHANNEL))
    assert await publish(redis, "e2") == (False, "epoch-one", 2), "a late repeat is still known"
    assert await publish(redis, "e4") == (True, "epoch-one", 4)


@pytest.mark.parametrize(("later", "is_extended"), [(-1, True), (0, False), (SLACK - 1, False), (SLACK, True)])
async def test_lives_are_extended_before_they_could_be_too_short(redis: Redis, later: int, is_extended: bool) -> None:
    await publish(redis, "e1")
    for key in (log_key(APP, CHANNEL), meta_key(APP, CHANNEL)):
        await redis.pexpire(key, 60_000)
    await publish(redis, "e2", now=NOW + later)
    assert (await redis.pttl(log_key(APP, CHANNEL)) > FOREVER.age_seconds * 1000) == is_extended
    assert (await redis.pttl(meta_key(APP, CHANNEL)) > FOREVER.meta_seconds * 1000) == is_extended


async def test_a_history_begun_anew_has_a_life_of_its_own(redis: Redis) -> None:
    await publish(redis, "e1")
    await redis.delete(log_key(APP, CHANNEL))
    await publish(redis, "e2")
    assert await redis.pttl(log_key(APP, CHANNEL)) > FOREVER.age_seconds * 1000


async def test_ids_of_an_expired_history_are_forgotten_but_the_newest(redis: Redis) -> None:
    many = REPEAT_WINDOW + 10
    for n in range(1, many + 1):
        await publish(redis, f"e{n}")
    await redis.delete(log_key(APP, CHANNEL))
    await publish(redis, "new")
    meta = await redis.hgetall(meta_key(APP, CHANNEL))  # type: ignore[misc]
    remembered = [key for key in meta if key.startswith(b"i:")]
    assert len(remembered) == REPEAT_WINDOW + 1
    assert b"i:e10" not in meta
    assert b"i:e11" in meta


async def test_a_lost_position_begins_another_epoch_with_an_empty_history(redis: Redis) -> None:
    await publish(redis, "e1")
    await redis.delete(meta_key(APP, CHANNEL))
    assert await publish(redis, "e2", epoch="epoch-two") == (True, "epoch-two", 1)
    assert [one.header.event_id for one in await history(redis, CHANNEL)] == ["e2"]


async def test_cache_channels_remember_their_last_event(redis: Redis) -> None:
    channel = "cache-prices"
    await publish(redis, "e1", channel=channel, cache_ms=1_800_000)
    await publish(redis, "e2", channel=channel, cache_ms=1_800_000)
    last = await redis.get(last_key(APP, channel))
    assert decode_publication(last).header.event_id == "e2"
    assert 0 < await redis.pttl(last_key(APP, channel)) <= 1_800_000
    await publish(redis, "e1", channel=channel, cache_ms=1_800_000)
    assert decode_publication(await redis.get(last_key(APP, channel))).header.event_id == "e2"


async def test_other_channels_have_no_last_event(redis: Redis) -> None:
    await publish(redis, "e1")
    assert await redis.get(last_key(APP, CHANNEL)) is None


async def test_many_at_once_are_the_same_as_one_by_one(redis: Redis) -> None:
    assert await publish_many(redis, "e1", "e2", "e3") == [1, 2, 3]
    assert await publish_many(redis, "e2", "e4", "e3", "e5") == [-2, 4, -3, 5]
    assert await publish(redis, "e4") == (False, "epoch-one", 4)
    assert [one.offset for one in await history(redis, CHANNEL)] == [1, 2, 3, 4, 5]


async def test_an_id_twice_in_one_call_is_published_once(redis: Redis) -> None:
    assert await publish_many(redis, "e1", "e2", "e1", "e2", "e3") == [1, 2, -1, -2, 3]
    assert [one.header.event_id for one in await history(redis, CHANNEL)] == ["e1", "e2", "e3"]


async def test_many_longer_than_the_history_keep_its_end(redis: Redis) -> None:
    assert await publish_many(redis, *(f"e{n}" for n in range(10)), limits=HistoryLimits(length=4)) == list(
        range(1, 11)
    )
    assert [one.offset for one in await history(redis, CHANNEL)] == [7, 8, 9, 10]


async def test_many_are_all_or_nothing_when_redis_is_full(redis: Redis) -> None:
    await publish_many(redis, "e1")
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            await publish_many(redis, "e2", "e3")
    finally:
        await redis.config_set("maxmemory", 0)
    assert await publish_many(redis, "e2", "e3") == [2, 3]


@settings(max_examples=30, deadline=None)
@given(
    calls=st.lists(st.lists(st.integers(0, 30).map(str), unique=True, min_size=1, max_size=8), max_size=12),
    length=st.integers(1, 40),
)
async def test_any_calls_leave_a_gapless_history_of_distinct_events(
    shared_redis_server: EmbeddedRedis, calls: list[list[str]], length: int
) -> None:
    client = create_redis(shared_redis_server.url)
    try:
        await client.flushall()
        for call in calls:
            if len(call) == 1:
                await publish(client, call[0], limits=HistoryLimits(length=length))
            else:
                await publish_many(client, *call, limits=HistoryLimits(length=length))
        publications = await history(client, CHANNEL)
        offsets = [one.offset for one in publications]
        ids = [one.header.event_id for one in publications]
        assert len(set(ids)) == len(ids) <= length
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets))) if offsets else not calls
    finally:
        await client.aclose()


class Model:
    """What the script promises of trimming, in a few lines."""

    def __init__(self, length: int, age: int) -> None:
        self.length = length
        self.age = age
        self.kept: list[tuple[str, int]] = []

    def publish(self, ids: Sequence[str], now: int) -> None:
        known = {event_id for event_id, _ in self.kept}
        fresh = [event_id for event_id in ids if event_id not in known]
        self.kept += [(event_id, now) for event_id in fresh]
        surplus = len(self.kept) - self.length
        quota = len(fresh) + 1 if fresh else 0
        while fresh and (surplus > 0 or (quota > 0 and self.kept[0][1] < now - self.age)):
            del self.kept[0]
            surplus, quota = surplus - 1, quota - 1


@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.lists(st.integers(0, 40).map(str), unique=True, min_size=1, max_size=6),
            st.sampled_from([0, 1, SLACK, FOREVER.age_seconds * 400, FOREVER.age_seconds * 1000 + 1]),
        ),
        max_size=20,
    ),
    length=st.integers(1, 12),
)
async def test_trimming_is_exact_whenever_events_come(
    shared_redis_server: EmbeddedRedis, calls: list[tuple[list[str], int]], length: int
) -> None:
    limits = HistoryLimits(length=length, age_seconds=FOREVER.age_seconds)
    model, now = Model(length, limits.age_seconds * 1000), NOW
    client = create_redis(shared_redis_server.url)
    try:
        await client.flushall()
        for ids, pause in calls:
            now += pause
            model.publish(ids, now)
            await publish_many(client, *ids, limits=limits, now=now)
            expected = [event_id for event_id, _ in model.kept]
            assert [one.header.event_id for one in await history(client, CHANNEL)] == expected
            meta = await client.hgetall(meta_key(APP, CHANNEL))  # type: ignore[misc]  # redis-py's stub
            assert {key.decode()[2:] for key in meta if key.startswith(b"i:")} == set(expected)
    finally:
        await client.aclose()


async def test_the_sharded_script_announces_to_sharded_subscribers_alone(redis: Redis) -> None:
    """Real SPUBLISH and SSUBSCRIBE on one node; over several nodes it has not run."""
    plain, sharded = redis.pubsub(), redis.pubsub()
    await plain.subscribe(live_topic(APP, CHANNEL))
    await plain.get_message(timeout=5)
    await sharded.execute_command("SSUBSCRIBE", live_topic(APP, CHANNEL))
    await sharded.parse_response()
    arguments = publish_arguments(
        event_id="e1",
        opened_frame=opened("e1"),
        header=Header(event="wallet.updated", event_id="e1"),
        candidate_epoch="epoch-one",
        now_ms=NOW,
        limits=FOREVER,
    )
    assert await run_script(redis, SHARDED_PUBLISH_SCRIPT, CHANNEL, arguments) == [1, b"epoch-one", 1]
    kind, topic, message = await sharded.parse_response()
    assert (kind, topic.decode()) == (b"smessage", live_topic(APP, CHANNEL))
    assert decode_publication(message).offset == 1
    assert await publish(redis, "e2") == (True, "epoch-one", 2)
    heard = await plain.get_message(timeout=5)
    assert heard is not None
    assert decode_publication(heard["data"]).offset == 2, "the first announcement was not for plain subscribers"
    for subscription in (plain, sharded):
        await subscription.aclose()  # type: ignore[no-untyped-call]
