"""Keeping a background activity alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from sharedjox_kit.logs import get_logger
from sharedjox_outbox.decisions import Backoff

log = get_logger(__name__)

_STEADY_SECONDS: Final = 10.0
"""Whoever ran this long before failing starts over with the shortest delay."""


async def keep_running(name: str, activity: Callable[[], Awaitable[None]]) -> None:
    """Run `activity` again whenever it raises, with growing, jittered delays; return when it returns."""
    backoff = Backoff(base_seconds=0.1, cap_seconds=2.0)
    while True:
        started = time.monotonic()
        try:
            await activity()
        except Exception as error:  # noqa: BLE001 - whatever it was, the process lives on and says so
            if time.monotonic() - started > _STEADY_SECONDS:
                backoff.reset()
            delay = backoff.next_delay()
            log.warning("worker.activity_failed", activity=name, error=repr(error), retry_seconds=round(delay, 2))
            await asyncio.sleep(delay)
        else:
            return
