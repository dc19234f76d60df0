"""The garbage collector, kept from walking tens of thousands of connections again and again.

A full collection at 19,000 connections looks at some 180,000 objects and stops the process for 30 to 60 ms (measured,
docs/performance.md). Hardly any of them is ever in a cycle: connections, channels and transports are freed by their
reference counts. So what survives one young collection is taken out of the collector's sight (`gc.freeze`), and a
collection never looks at more than what is new. The few objects that were frozen while alive and became a cycle later
are found by `tidy`, a full collection now and then.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""New container objects until the next collection: 1 to 2 ms (measured)."""
FEW_CONNECTIONS: Final = 1000
"""With so few a full collection is short, too."""
TIDY_SECONDS: Final = 600.0
TIDY_BUSY_SECONDS: Final = 6 * 3600.0


def _freeze_survivors(phase: str, _info: dict[str, int]) -> None:
    if phase == "stop":
        gc.freeze()


class Collector:
    """Takes over the interpreter's collector from `install` to `uninstall`."""

    def __init__(self, now: float) -> None:
        self._tidied_at = now
        self._thresholds = gc.get_threshold()

    def install(self) -> None:
        """Collect what starting left behind, then only what is new."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 10, 10)
        gc.callbacks.append(_freeze_survivors)

    def uninstall(self) -> None:
        """Back to the interpreter's own ways."""
        if _freeze_survivors in gc.callbacks:
            gc.callbacks.remove(_freeze_survivors)
        gc.unfreeze()
        gc.set_threshold(*self._thresholds)

    def tick(self, now: float, connections: int) -> None:
        """Tidy when it is time: often while it costs little, else a few times a day."""
        pause = TIDY_SECONDS if connections <= FEW_CONNECTIONS else TIDY_BUSY_SECONDS
        if now - self._tidied_at >= pause:
            self.tidy(now)

    def tidy(self, now: float) -> int:
        """A full collection; returns how many objects it freed."""
        self._tidied_at = now
        gc.unfreeze()
        return gc.collect()
