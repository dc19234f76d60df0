"""Redis dies under load and comes back, with its data and without: what was promised arrives, or the loss is told."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

from tests.faults.audience import Audience, Settled, listener
from tests.faults.chaos_load import ChaosLoad
from tests.faults.recovering_client import living
from tests.support.polling import eventually, scaled
from tests.support.stack import Stack, running_stack

CLIENTS = 40
SETTINGS = {"REDIS_PROBE_SECONDS": "1"}


async def lose_redis(stack: Stack, load: ChaosLoad, *, with_its_data: bool) -> None:
    """Kill it while requests go on; some are answered without it before it is back, more afterwards."""
    await some_more(load)
    await asyncio.to_thread(stack.redis.process.kill)
    await some_more(load)
    if not with_its_data:
        shutil.rmtree(stack.redis.data_dir)
    await asyncio.to_thread(stack.redis.start)
    await some_more(load)


async def some_more(load: ChaosLoad) -> None:
    wanted = load.answered + 10
    await eventually(lambda: load.answered >= wanted, 60, what="the load goes on")


async def under_load(stack: Stack, *, with_its_data: bool) -> Settled:
    """Half of the clients come and go meanwhile, so some return while Redis is away and some later."""
    load = ChaosLoad(stack.ports.api, await stack.log_in("client"), await stack.log_in("freelancer"))
    dice = random.Random(20261126)
    clients = [
        listener(
            number, load, lambda: stack.ports.gateway, random.Random(dice.getrandbits(64)), silence_seconds=scaled(3)
        )
        for number in range(CLIENTS)
    ]
    audience = Audience(stack.env["DATABASE_URL"], clients)
    async with living(clients):
        await audience.begin()
        working = load.tasks()
        for _ in range(2):
            for client in dice.sample(clients, k=CLIENTS // 4):
                client.cut()
            await lose_redis(stack, load, with_its_data=with_its_data)
            await eventually(lambda: audience.is_ready, 60, what="everybody is back")
            await some_more(load)  # behind whatever was told: nobody may miss of this
            for client in dice.sample(clients, k=CLIENTS // 4):
                client.cut()
        load.is_over = True
        await asyncio.gather(*working)
        settled = await audience.settle(may_be_told=not with_its_data)
    await load.close()
    settled.problems += load.problems
    return settled


async def test_a_redis_that_dies_and_keeps_its_data_costs_nobody_anything(tmp_path: Path) -> None:
    with running_stack(tmp_path, extra_env=SETTINGS, durable_servers=True) as stack:
        settled = await under_load(stack, with_its_data=True)
    assert settled.problems == []
    assert settled.verdict.events > 0
    assert settled.verdict.told_lost == 0


async def test_a_redis_that_comes_back_empty_makes_no_silent_hole(tmp_path: Path) -> None:
    """`judge` counts as lost what a client neither got nor was told to have missed: there is none of that."""
    with running_stack(tmp_path, extra_env=SETTINGS, durable_servers=True) as stack:
        settled = await under_load(stack, with_its_data=False)
    assert settled.problems == []
    assert settled.verdict.events > 0
    assert settled.verdict.told_lost > 0, "nobody could know that nothing was lost"
