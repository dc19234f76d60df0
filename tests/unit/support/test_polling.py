"""Waiting for a condition: late is an error that tells what was last seen."""

from __future__ import annotations

import pytest

from tests.support.polling import eventually, eventually_sync, never


async def test_late_condition_tells_the_last_result() -> None:
    with pytest.raises(AssertionError, match=r"not true within .* s: the count; last: 0"):
        await eventually(lambda: 0, 0.03, what="the count")


async def test_failed_assertion_means_not_yet() -> None:
    calls: list[int] = []

    def condition() -> int:
        calls.append(1)
        assert len(calls) == 3, "still early"
        return len(calls)

    assert await eventually(condition) == 3


async def test_async_condition_is_awaited() -> None:
    async def condition() -> str:
        return "yes"

    assert await eventually(condition) == "yes"


def test_other_errors_are_not_swallowed() -> None:
    def broken() -> bool:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        eventually_sync(broken)


async def test_never_fails_as_soon_as_it_happens() -> None:
    with pytest.raises(AssertionError, match="became true"):
        await never(lambda: True, 5)
