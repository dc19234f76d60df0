"""What the doctor says: one line for each thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad. Only `FAIL` makes the doctor leave with status 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was looked at, what was `seen`, and what to do about it."""

    level: Level
    what: str
    seen: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.level.value:<4}  {self.what}: {self.seen}{advice}"


def ok(what: str, seen: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, what, seen)


def warn(what: str, seen: str, advice: str) -> Finding:
    """Works, and should be looked at."""
    return Finding(Level.WARN, what, seen, advice)


def fail(what: str, seen: str, advice: str) -> Finding:
    """Does not work, or will lose something."""
    return Finding(Level.FAIL, what, seen, advice)
