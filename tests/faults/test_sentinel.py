"""Redis behind Sentinels, by REDIS_URL alone: failovers under load, ordered and by a master's death."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from tests.faults.audience import Audience, listener
from tests.faults.chaos_load import ChaosLoad
from tests.faults.recovering_client import living
from tests.support.polling import eventually, scaled
from tests.support.sentinel import SentinelGroup, running_sentinels
from tests.support.stack import running_stack

CLIENTS = 30


async def change_of_master(group: SentinelGroup, cause: Callable[[], object]) -> None:
    """Make it happen and wait until the Sentinels have agreed on the other server."""
    before = group.master
    await asyncio.to_thread(cause)
    await eventually(lambda: group.master is not before, 60, what="the other server is the master")


async def some_more(load: ChaosLoad) -> None:
    wanted = load.answered + 15
    await eventually(lambda: load.answered >= wanted, 60, what="the load goes on")


async def test_failovers_under_load_lose_nothing_silently(tmp_path: Path) -> None:
    with (
        running_sentinels(tmp_path / "sentinel") as group,
        running_stack(tmp_path, extra_env={"REDIS_URL": group.url, "REDIS_PROBE_SECONDS": "1"}) as stack,
    ):
        load = ChaosLoad(stack.ports.api, await stack.log_in("client"), await stack.log_in("freelancer"))
        clients = [
            listener(number, load, lambda: stack.ports.gateway, random.Random(number), silence_seconds=scaled(3))
            for number in range(CLIENTS)
        ]
        audience = Audience(stack.env["DATABASE_URL"], clients)
        async with living(clients):
            await audience.begin()
            working = load.tasks()
            await some_more(load)
            await change_of_master(group, group.fail_over)
            await some_more(load)
            await eventually(group.is_able_to_fail_over, 60, what="the former master is a replica now")
            await some_more(load)
            await change_of_master(group, group.master.process.kill)
            for client in clients[::2]:
                client.cut()
            await some_more(load)
            load.is_over = True
            await asyncio.gather(*working)
            settled = await audience.settle(may_be_told=True)
        await load.close()
        assert stack.redis.run_command("DBSIZE") == ":0\r\n", "nothing went past the Sentinels"
    assert settled.problems + load.problems == []
    assert settled.verdict.events > 50
