"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 0.5
"""How long a cancelled task may take to clear up before it is cancelled once more."""


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended; how each ended is left to be asked of it.

    Once is not enough for tasks that talk to Redis: redis-py sends by `asyncio.wait_for`, which in Python 3.11 loses a
    cancellation that comes when the sending is just done. A loop around it would go on for ever, and whoever waits for
    its end too. Source: https://github.com/python/cpython/issues/86296
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
