"""Redis behind Sentinels, by REDIS_URL alone: failovers under load, ordered and by a master's death."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.faults.trouble import assert_nothing_is_lost_silently
from tests.support.polling import eventually
from tests.support.sentinel import SentinelGroup, running_sentinels
from tests.support.stack import running_stack


async def change_of_master(group: SentinelGroup, cause: Callable[[], object]) -> None:
    """Make it happen and wait until the Sentinels have agreed on the other server."""
    before = group.master
    await asyncio.to_thread(cause)
    await eventually(lambda: group.master is not before, 60, what="the other server is the master")


async def test_failovers_under_load_lose_nothing_silently(tmp_path: Path) -> None:
    with (
        running_sentinels(tmp_path / "sentinel") as group,
        running_stack(tmp_path, extra_env={"REDIS_URL": group.url, "REDIS_PROBE_SECONDS": "1"}) as stack,
    ):

        async def ordered_failover() -> None:
            await change_of_master(group, group.fail_over)

        async def death_of_the_master() -> None:
            await eventually(group.is_able_to_fail_over, 60, what="the former master is a replica now")
            await change_of_master(group, group.master.process.kill)

        await assert_nothing_is_lost_silently(stack, [ordered_failover, death_of_the_master])
        assert stack.redis.run_command("DBSIZE") == ":0\r\n", "nothing went past the Sentinels"
