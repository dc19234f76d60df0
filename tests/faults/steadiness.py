"""Whether something stays as it was: samples over time, the slope through them, and what a process uses."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

from tests.benchmarks.machine import cpu_seconds, rss_kb

WARM_UP_SHARE: Final = 0.25
"""The beginning of a run that is not judged: pools, caches and the first history fill."""
_MOST_POINTS: Final = 400


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs of points (Theil-Sen): a quarter of all may be outliers."""
    step = max(1, len(points) // _MOST_POINTS)
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(points[::step], 2)
        if later[0] != earlier[0]
    ]
    return statistics.median(slopes) if slopes else 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """How one figure went after the warm-up, in its own unit; `growth` is what the slope comes to over that time."""

    first: float
    growth: float

    @property
    def percent(self) -> float:
        """Growth against the level at the end of the warm-up."""
        return 100 * self.growth / self.first if self.first else 0.0


@dataclass(slots=True)
class Samples:
    """Figures by name, taken together at increasing times (seconds)."""

    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, at: float, figures: Mapping[str, float]) -> None:
        """One more sample."""
        self.rows.append({"at": at, **figures})

    def course(self, name: str) -> Course:
        """How the figure went. A sample that lacks it (nothing happened then) is left out."""
        if not self.rows:
            return Course(0.0, 0.0)
        began, ended = self.rows[0]["at"], self.rows[-1]["at"]
        judged = began + WARM_UP_SHARE * (ended - began)
        points = [(row["at"], row[name]) for row in self.rows if row["at"] >= judged and name in row]
        if not points:
            return Course(0.0, 0.0)
        per_second = slope(points)
        level = statistics.median(value - per_second * (at - points[0][0]) for at, value in points)
        return Course(level, per_second * (points[-1][0] - points[0][0]))


def descriptors(pid: int) -> int:
    """Open file descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def process_figures(name: str, pid: int) -> dict[str, float]:
    """Memory, descriptors and processor time so far."""
    return {
        f"{name}_rss_kb": rss_kb(pid),
        f"{name}_descriptors": descriptors(pid),
        f"{name}_cpu_seconds": cpu_seconds(pid),
    }
