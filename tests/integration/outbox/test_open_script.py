"""The script by which a gateway learns where a channel stands, and by which Redis learns what a gateway had."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis
from sharedjox_contracts.redis_layout import OPEN_SCRIPT, HistoryLimits, log_key, meta_key

from tests.support.publishing import Publisher

from .conftest import APP, history

CHANNEL = "private-user.3"


async def open_channel(redis: Redis, epoch: str = "", offset: int = 0, event_id: str = "") -> tuple[str, int, str, int]:
    """As a listener that had this; `candidate` is the epoch it proposes."""
    keys = [meta_key(APP, CHANNEL), log_key(APP, CHANNEL)]
    arguments = ["candidate", "60000", epoch, str(offset), event_id]
    answer: list[Any] = await cast("Awaitable[Any]", redis.eval(OPEN_SCRIPT, 2, *keys, *arguments))
    return answer[0].decode(), answer[1], answer[2].decode(), answer[3]


async def published(redis: Redis, *event_ids: str, limits: HistoryLimits | None = None) -> str:
    """Publish; returns the epoch."""
    publisher = Publisher(redis, APP, limits)
    for event_id in event_ids:
        await publisher.publish(CHANNEL, {}, event_id=event_id)
    return (await history(redis, CHANNEL))[-1].epoch


async def test_a_channel_without_a_past_gets_an_epoch_once(redis: Redis) -> None:
    assert await open_channel(redis) == ("candidate", 0, "", 1)
    assert await redis.hget(meta_key(APP, CHANNEL), "e") == b"candidate"  # type: ignore[misc]
    assert await published(redis, "a") == "candidate"


async def test_who_is_behind_or_up_to_date_changes_nothing(redis: Redis) -> None:
    epoch = await published(redis, "a", "b", "c")
    for offset, event_id in ((0, ""), (2, "b"), (3, "c")):
        assert await open_channel(redis, epoch, offset, event_id) == (epoch, 3, "c", 1)
    assert len(await history(redis, CHANNEL)) == 3


async def test_an_event_that_redis_lost_ends_the_epoch(redis: Redis) -> None:
    epoch = await published(redis, "a", "b")
    assert await open_channel(redis, epoch, 3, "c") == ("candidate", 0, "", 1)
    assert await history(redis, CHANNEL) == []


async def test_an_offset_that_another_event_took_ends_the_epoch(redis: Redis) -> None:
    epoch = await published(redis, "a", "other", "more")
    assert await open_channel(redis, epoch, 2, "lost") == ("candidate", 0, "", 1)
    assert await history(redis, CHANNEL) == []


async def test_an_event_that_was_trimmed_is_no_reason_to_end_an_epoch_for_everybody(redis: Redis) -> None:
    epoch = await published(redis, "a", "b", "c", "d", limits=HistoryLimits(length=2))
    assert await open_channel(redis, epoch, 1, "a") == (epoch, 4, "d", 0)
    assert await open_channel(redis, epoch, 3, "c") == (epoch, 4, "d", 1)


async def test_a_history_that_aged_away_still_knows_the_newest_event(redis: Redis) -> None:
    epoch = await published(redis, "a", "b")
    await redis.delete(log_key(APP, CHANNEL))
    assert await open_channel(redis, epoch, 2, "b") == (epoch, 2, "", 1)
    assert await open_channel(redis, epoch, 2, "lost") == ("candidate", 0, "", 1)


async def test_a_listener_from_another_epoch_is_told_the_present_one(redis: Redis) -> None:
    epoch = await published(redis, "a")
    assert await open_channel(redis, "former", 7, "z") == (epoch, 1, "a", 1)
