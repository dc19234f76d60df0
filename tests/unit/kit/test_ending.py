"""Tasks end, also those that do not hear it the first time."""

from __future__ import annotations

import asyncio

from sharedjox_kit.ending import end_tasks


async def _deaf(times: int) -> None:
    """Loses so many cancellations, as `asyncio.wait_for` may."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if times == 0:
                raise
            times -= 1


async def _fails() -> None:
    raise ValueError


async def test_all_have_ended_however_often_it_takes() -> None:
    tasks = [asyncio.create_task(_deaf(times)) for times in (0, 1, 2)]
    failed = asyncio.create_task(_fails())
    await asyncio.sleep(0)
    await end_tasks(*tasks, failed)
    assert [task.cancelled() for task in tasks] == [True] * 3
    assert isinstance(failed.exception(), ValueError)
    await end_tasks(*tasks)
    await end_tasks()
