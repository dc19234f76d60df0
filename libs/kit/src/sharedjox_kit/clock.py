"""Time as a dependency, so that tests can hold it still."""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """Where the current time comes from."""

    def now(self) -> dt.datetime:
        """The current time, UTC, timezone-aware."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        """The current time, UTC, timezone-aware."""
        return dt.datetime.now(dt.UTC)


def unix_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def unix_us() -> int:
    """Unix microseconds."""
    return time.time_ns() // 1_000
