"""Publishing with history: what comes in one turn of the loop shares calls, loses no order and no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sharedjox_contracts.frames import open_event_frame
from sharedjox_contracts.publication import Header, decode_publication, encode_header
from sharedjox_contracts.redis_layout import MAX_EVENTS_PER_CALL, HistoryLimits, last_key, log_key, meta_key
from sharedjox_gateway.broker.durable import DurableEvent, DurablePublisher
from sharedjox_gateway.broker.resp import RespConnection, connect
from sharedjox_kit.redis_address import parse_redis_url

from tests.support.polling import eventually

APP, CHANNEL = "1001", "room"


def event(event_id: str, channel: str = CHANNEL) -> DurableEvent:
    """An event that carries its id as its name too."""
    frame = open_event_frame(event=event_id, channel=channel, data="{}", event_id=event_id)
    return DurableEvent(event_id, frame, encode_header(Header(event_id, event_id)))


class Publishing:
    """The publisher on a connection of its own, and the answers in the order in which they came."""

    def __init__(self, connection: RespConnection, redis: Redis) -> None:
        self.connection = connection
        self.redis = redis
        self.answers: list[tuple[str, Exception | None]] = []
        self._publisher = DurablePublisher(lambda _channel: HistoryLimits())

    def publish(self, *event_ids: str, channel: str = CHANNEL, cache_ms: int = 0) -> None:
        """Publish in one call of the publisher."""
        label = " ".join(event_ids)
        events = [event(each, channel) for each in event_ids]
        self._publisher.publish(
            self.connection, APP, channel, events, cache_ms, lambda failure: self.answers.append((label, failure))
        )

    async def answered(self, count: int) -> None:
        """Wait for so many answers."""
        await eventually(lambda: len(self.answers) >= count)

    async def history(self, channel: str = CHANNEL) -> list[tuple[int, str]]:
        """Offset and event id of each event in history."""
        entries = await self.redis.xrange(log_key(APP, channel))
        read = [decode_publication(fields[b"m"]) for _, fields in entries]
        return [(each.offset, each.header.event_id) for each in read]

    async def script_calls(self) -> int:
        """How often Redis ran a script."""
        stats = await self.redis.info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))


@pytest.fixture
async def publishing(redis_url: str) -> AsyncIterator[Publishing]:
    redis = Redis.from_url(redis_url)
    connection = await connect(parse_redis_url(redis_url), lambda _: None, lambda: None)
    yield Publishing(connection, redis)
    connection.abort()
    await redis.aclose()


async def test_events_of_one_turn_for_one_channel_are_one_call_in_their_order(publishing: Publishing) -> None:
    publishing.publish("first")  # Redis learns the script, so that only the calls are counted below
    await publishing.answered(1)
    before = await publishing.script_calls()
    publishing.publish("a1")
    publishing.publish("b1", channel="other")
    publishing.publish("a2", "a3")
    publishing.publish("b2", channel="other")
    publishing.publish("a4")
    assert publishing.answers == [("first", None)], "answered before Redis can have answered"
    await publishing.answered(6)
    assert await publishing.script_calls() - before == 2
    assert [failure for _, failure in publishing.answers] == [None] * 6
    assert await publishing.history() == [(1, "first"), (2, "a1"), (3, "a2"), (4, "a3"), (5, "a4")]
    assert await publishing.history("other") == [(1, "b1"), (2, "b2")]


async def test_later_turns_follow_earlier_ones(publishing: Publishing) -> None:
    """Also the first ones of a connection, which may be to a Redis that does not know the script yet."""
    await publishing.redis.script_flush()
    for turn in range(20):
        publishing.publish(f"{turn}-x")
        publishing.publish(f"{turn}-y")
        await asyncio.sleep(0)
    await publishing.answered(40)
    expected = [f"{turn}-{part}" for turn in range(20) for part in "xy"]
    assert [name for _, name in await publishing.history()] == expected


async def test_a_crowd_takes_several_calls_and_no_publication_is_torn_apart(publishing: Publishing) -> None:
    publishing.publish("first")
    await publishing.answered(1)
    before = await publishing.script_calls()
    names = [f"e{number}" for number in range(MAX_EVENTS_PER_CALL - 1)]
    for name in names:
        publishing.publish(name)
    publishing.publish("pair-1", "pair-2")  # only one of them would fit
    publishing.publish("last")
    await publishing.answered(len(names) + 3)
    assert await publishing.script_calls() - before == 2
    assert [name for _, name in await publishing.history()] == ["first", *names, "pair-1", "pair-2", "last"]


async def test_an_id_that_two_publishers_send_at_once_is_published_once(publishing: Publishing) -> None:
    """A publisher that repeats itself while its first request is under way gets its answer, not a second event."""
    publishing.publish("same")
    publishing.publish("between")
    publishing.publish("same")
    await publishing.answered(3)
    assert publishing.answers == [("same", None), ("between", None), ("same", None)]
    assert await publishing.history() == [(1, "same"), (2, "between")]


async def test_the_last_event_of_a_turn_is_the_cached_one(publishing: Publishing) -> None:
    for name in ("old", "new"):
        publishing.publish(name, channel="cache-x", cache_ms=60_000)
    await publishing.answered(2)
    assert decode_publication(await publishing.redis.get(last_key(APP, "cache-x"))).header.event_id == "new"


async def test_a_redis_that_forgot_its_scripts_gets_them_again(publishing: Publishing) -> None:
    for name in ("before", "after"):
        await publishing.redis.script_flush()
        publishing.publish(name)
        publishing.publish(f"{name}-too")
        await publishing.answered(2 if name == "before" else 4)
    assert [failure for _, failure in publishing.answers] == [None] * 4
    assert [name for _, name in await publishing.history()] == ["before", "before-too", "after", "after-too"]


async def test_a_refusal_reaches_everybody_who_shared_the_call_and_nobody_else(publishing: Publishing) -> None:
    await publishing.redis.set(meta_key(APP, CHANNEL), "not a hash")
    publishing.publish("a1")
    publishing.publish("b1", channel="other")
    publishing.publish("a2")
    await publishing.answered(3)
    failures = dict(publishing.answers)
    assert failures["b1"] is None
    assert "WRONGTYPE" in str(failures["a1"])
    assert "WRONGTYPE" in str(failures["a2"])
    assert await publishing.history("other") == [(1, "b1")]


async def test_a_connection_that_is_lost_in_the_same_turn_answers_everybody(publishing: Publishing) -> None:
    publishing.publish("a1")
    publishing.publish("b1", channel="other")
    publishing.connection.abort()
    publishing.publish("a2")
    await publishing.answered(3)
    assert all(isinstance(failure, ConnectionError) for _, failure in publishing.answers)
    assert await publishing.history() == []
    publishing.publish("later")
    await publishing.answered(4)
    assert isinstance(publishing.answers[-1][1], ConnectionError)


async def test_a_producer_that_fails_does_not_hold_the_connection_up(publishing: Publishing) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))

    def fail() -> None:
        raise LookupError("a bug")

    publishing.connection.before_write(fail)
    await asyncio.sleep(0)
    publishing.publish("after")
    await publishing.answered(1)
    assert publishing.answers == [("after", None)]
    assert [type(failure) for failure in failures] == [LookupError]


async def test_a_publisher_moves_on_to_another_connection(publishing: Publishing, redis_url: str) -> None:
    """After a failover the same publisher is given the connection to the new master."""
    publishing.publish("old-1")
    second = await connect(parse_redis_url(redis_url), lambda _: None, lambda: None)
    first, publishing.connection = publishing.connection, second
    publishing.publish("new-1")
    await publishing.answered(2)
    assert [failure for _, failure in publishing.answers] == [None, None]
    first.abort()
    publishing.publish("new-2")
    await publishing.answered(3)
    second.abort()
    assert publishing.answers[-1] == ("new-2", None)
    assert sorted(name for _, name in await publishing.history()) == ["new-1", "new-2", "old-1"]
