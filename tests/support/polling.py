"""Waiting for a condition instead of sleeping; deadlines are multiples of one unit that a slow machine can raise."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, overload

TIME_UNIT_SECONDS: Final = float(os.environ.get("TEST_TIME_UNIT", "1.0"))
"""`TEST_TIME_UNIT=3 make test` triples every deadline."""
DEFAULT_DEADLINE: Final = 5.0
INTERVAL_SECONDS: Final = 0.01

_T = TypeVar("_T")


def scaled(units: float) -> float:
    """`units` of test time in seconds."""
    return units * TIME_UNIT_SECONDS


@overload
async def eventually(
    predicate: Callable[..., Awaitable[_T]], deadline: float = DEFAULT_DEADLINE, *, what: str = ""
) -> _T: ...


@overload
async def eventually(predicate: Callable[..., _T], deadline: float = DEFAULT_DEADLINE, *, what: str = "") -> _T: ...


async def eventually(
    predicate: Callable[..., _T | Awaitable[_T]], deadline: float = DEFAULT_DEADLINE, *, what: str = ""
) -> _T:
    """Poll a condition (plain or async) until its result is true; returns that result.

    The condition is called without arguments (`...` lets a lambda bind a loop variable by a default). `deadline` is in
    time units. An AssertionError raised by the condition counts as "not yet", so a condition may hold
    assertions. Raises: AssertionError with the last result or the last failed assertion when the deadline passes.
    """
    end = time.monotonic() + scaled(deadline)
    while True:
        try:
            outcome = predicate()
            result: _T = await outcome if inspect.isawaitable(outcome) else outcome
            if result:
                return result
            last: object = result
        except AssertionError as error:
            last = error
        if time.monotonic() >= end:
            raise AssertionError(_late(what or _name_of(predicate), deadline, last))
        await asyncio.sleep(INTERVAL_SECONDS)


def eventually_sync(predicate: Callable[..., _T], deadline: float = DEFAULT_DEADLINE, *, what: str = "") -> _T:
    """`eventually` outside an event loop."""
    end = time.monotonic() + scaled(deadline)
    while True:
        try:
            result = predicate()
            if result:
                return result
            last: object = result
        except AssertionError as error:
            last = error
        if time.monotonic() >= end:
            raise AssertionError(_late(what or _name_of(predicate), deadline, last))
        time.sleep(INTERVAL_SECONDS)


async def never(predicate: Callable[..., object], during: float, *, what: str = "") -> None:
    """Watch a condition for `during` time units and fail as soon as it becomes true."""
    end = time.monotonic() + scaled(during)
    while time.monotonic() < end:
        result = predicate()
        assert not result, f"{what or _name_of(predicate)} became true: {result!r}"
        await asyncio.sleep(INTERVAL_SECONDS)


def _name_of(predicate: Callable[..., object]) -> str:
    return getattr(predicate, "__qualname__", repr(predicate))


def _late(what: str, deadline: float, last: object) -> str:
    return f"not true within {scaled(deadline):g} s: {what}; last: {last!r}"
