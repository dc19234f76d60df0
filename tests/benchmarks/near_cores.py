"""Turns of a benchmark while the server's core and the client's are near each other.

A virtual machine's cores are where its host puts them, and it puts them elsewhere while we run: for seconds or minutes
a cache line takes 0.04 us from one to the other, or 0.2. On one machine the client's half of every connection is on the
other core, so a delivery exchanges a dozen lines with it, and costs each server a quarter more, whatever it does; with
another machine at the other end it would cost none of them anything.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final, Self

from .load_client.compiler import build_core_distance
from .load_client.results import Result
from .machine import CLIENT_CORE, SERVER_CORE

NEAR_NS: Final = 100
LOOK_SECONDS: Final = 0.5
PATIENCE: Final = 20
"""Of a whole run, in its seconds per scenario and round."""


def core_distance() -> float:
    """Nanoseconds that a cache line takes from the server's core to the client's; 0 when that is the same."""
    if SERVER_CORE == CLIENT_CORE:
        return 0.0
    command = [str(build_core_distance()), str(SERVER_CORE), str(CLIENT_CORE)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


class NearCores:
    """Runs turns while the cores are near each other.

    `patience` is in seconds, for all turns together. Once it is spent, turns are taken as they come: there are machines
    whose cores are never near. `turns` counts those taken, `far_turns` those of them that ended with far cores.
    """

    def __init__(self, patience: float, *, distance: Callable[[], float] = core_distance) -> None:
        self._patience = patience
        self._distance = distance
        self.turns = 0
        self.far_turns = 0

    @classmethod
    def of_run(cls, repeat: int, seconds: float) -> Self:
        """With the patience that fits a run of `repeat` rounds, `seconds` for each scenario."""
        return cls(PATIENCE * repeat * seconds)

    def figures(self) -> dict[str, float]:
        """For a report."""
        return {"turns": self.turns, "far_turns": self.far_turns}

    def run(self, turn: Callable[[], Result]) -> Result:
        """The result of a turn: the first that began and ended with near cores, or when patience is over any.

        One that found a fault is never taken again.
        """
        while True:
            self._wait()
            began = time.monotonic()
            result = turn()
            is_near = self._are_near()
            if is_near or self._patience <= 0 or not result["ok"]:
                self.turns += 1
                self.far_turns += not is_near
                return result
            self._spend(time.monotonic() - began)

    def _are_near(self) -> bool:
        return self._distance() <= NEAR_NS

    def _wait(self) -> None:
        while self._patience > 0 and not self._are_near():
            time.sleep(LOOK_SECONDS)
            self._spend(LOOK_SECONDS)

    def _spend(self, seconds: float) -> None:
        self._patience -= seconds
        if self._patience <= 0:
            sys.stdout.write("  the cores are far from each other too often: turns are taken as they come from here\n")
