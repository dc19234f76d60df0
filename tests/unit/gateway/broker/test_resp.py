"""What follows from replies runs behind those that came with them, and not a turn of the loop later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sharedjox_gateway.broker.resp import RespConnection


async def test_what_follows_from_a_read_runs_once_behind_all_of_its_replies() -> None:
    seen: list[Any] = []
    connection = RespConnection(lambda _reply: None, lambda: None)

    def took(reply: Any) -> None:
        seen.append(reply)
        if reply == 1:
            connection.soon(lambda: seen.append("behind"))

    connection._on_push = took
    connection.data_received(b":1\r\n:2\r\n:3\r\n")
    connection.data_received(b":4\r\n")
    assert seen == [1, 2, 3, "behind", 4]


async def test_what_is_wanted_behind_a_read_by_what_ran_there_waits_for_the_next_turn() -> None:
    seen: list[str] = []
    connection = RespConnection(lambda _reply: connection.soon(first), lambda: None)

    def first() -> None:
        seen.append("first")
        connection.soon(lambda: seen.append("second"))

    connection.data_received(b":1\r\n")
    assert seen == ["first"]
    await asyncio.sleep(0)
    assert seen == ["first", "second"]


async def test_outside_of_a_read_it_is_the_next_turn() -> None:
    seen: list[str] = []
    connection = RespConnection(lambda _reply: None, lambda: None)
    connection.soon(lambda: seen.append("ran"))
    assert seen == []
    await asyncio.sleep(0)
    assert seen == ["ran"]


async def test_nothing_is_forgotten_when_a_reply_cannot_be_taken() -> None:
    seen: list[str] = []

    def fail(_reply: Any) -> None:
        connection.soon(lambda: seen.append("behind"))
        raise RuntimeError("broken")

    connection = RespConnection(fail, lambda: None)
    with pytest.raises(RuntimeError, match="broken"):
        connection.data_received(b":1\r\n")
    assert seen == ["behind"]
