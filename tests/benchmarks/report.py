"""What a benchmark says at its end: a table, a JSON file, an exit status.

Budgets stand in `budgets.json`, one section per benchmark: `{"metric": {"max": 10}}` or `{"min": 5000}`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

BUDGETS: Final = Path(__file__).with_name("budgets.json")
RESULTS: Final = Path(__file__).parents[2] / "benchmark-results"


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds of one metric; either may be missing."""

    minimum: float | None = None
    maximum: float | None = None

    def allows(self, value: float) -> bool:
        """Whether the value is inside."""
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        bounds = [f">= {self.minimum:g}"] if self.minimum is not None else []
        return ", ".join([*bounds, f"<= {self.maximum:g}"] if self.maximum is not None else bounds)


def read_budgets(benchmark: str, path: Path = BUDGETS) -> dict[str, Budget]:
    """The section of one benchmark."""
    section: Mapping[str, Mapping[str, float]] = json.loads(path.read_text("utf-8")).get(benchmark, {})
    return {name: Budget(bounds.get("min"), bounds.get("max")) for name, bounds in section.items()}


@dataclass(slots=True)
class Report:
    """Figures of one run. `details` go into the file only."""

    benchmark: str
    budgets: Mapping[str, Budget]
    figures: dict[str, float] = field(default_factory=dict)
    details: dict[str, object] = field(default_factory=dict)

    def add(self, **figures: float) -> None:
        """Add figures by name; the unit is in the name."""
        self.figures.update(figures)

    def missed(self) -> list[str]:
        """Budgets that do not hold, a figure that is missing among them."""
        return [
            name
            for name, budget in self.budgets.items()
            if name not in self.figures or not budget.allows(self.figures[name])
        ]

    def table(self) -> str:
        """The figures beside their budgets."""
        missed = set(self.missed())
        lines = [f"{self.benchmark:<28} {'value':>14}  budget"]
        for name in dict.fromkeys([*self.figures, *self.budgets]):
            value = f"{self.figures[name]:,.2f}" if name in self.figures else "-"
            budget = str(self.budgets.get(name, ""))
            lines.append(f"  {name:<26} {value:>14}  {budget:<14}{'  MISSED' if name in missed else ''}".rstrip())
        return "\n".join(lines)

    def finish(self, folder: Path = RESULTS) -> int:
        """Print, write the file, return the exit status."""
        sys.stdout.write(self.table() + "\n")
        folder.mkdir(exist_ok=True)
        document = {
            "benchmark": self.benchmark,
            "finishedAt": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
            "figures": self.figures,
            "missed": self.missed(),
            **self.details,
        }
        (folder / f"{self.benchmark}.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        return 1 if self.missed() else 0


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]
