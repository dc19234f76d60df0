"""Servers in trouble while people work and listen: nothing may be lost silently."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from tests.support.polling import eventually, scaled
from tests.support.stack import Stack

from .audience import Audience, listener
from .chaos_load import ChaosLoad
from .recovering_client import living

CLIENTS = 30
Trouble = Callable[[], Awaitable[object]]


async def assert_nothing_is_lost_silently(stack: Stack, troubles: Sequence[Trouble]) -> None:
    """One trouble after the other under load; half of the listeners lose their connection behind each."""
    load = ChaosLoad(stack.ports.api, await stack.log_in("client"), await stack.log_in("freelancer"))
    clients = [
        listener(number, load, lambda: stack.ports.gateway, random.Random(number), silence_seconds=scaled(3))
        for number in range(CLIENTS)
    ]
    audience = Audience(stack.env["DATABASE_URL"], clients)
    async with living(clients):
        await audience.begin()
        working = load.tasks()
        for trouble in troubles:
            await _some_more(load)
            await trouble()
            for client in clients[::2]:
                client.cut()
        await _some_more(load)
        load.is_over = True
        await asyncio.gather(*working)
        settled = await audience.settle(may_be_told=True)
    await load.close()
    assert settled.problems + load.problems == []
    assert settled.verdict.events > 50


async def _some_more(load: ChaosLoad) -> None:
    wanted = load.answered + 15
    await eventually(lambda: load.answered >= wanted, 60, what="the load goes on")
