"""What the programs of this folder share: a command line whose first line of output repeats the run, and a report."""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.report import RESULTS, Report, read_budgets

BUDGETS: Final = Path(__file__).with_name("budgets.json")
SHOWN_PROBLEMS: Final = 20
KEPT_PROBLEMS: Final = 100


class FaultProgram:
    """`python -m tests.faults.NAME`. Add options to `parser`, then `begin`, run, `finish`.

    `documentation` is the module's docstring; `report` names the section of budgets.json and the file in `results`.
    """

    def __init__(
        self, name: str, documentation: str | None, *, report: str | None = None, results: Path = RESULTS
    ) -> None:
        self._name = name
        self._report = report or name
        self._results = results
        self._replay = ""
        self.parser = argparse.ArgumentParser(
            prog=f"python -m tests.faults.{name}",
            description=documentation,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.parser.add_argument("--seed", type=int, help="the dice of an earlier run; default: new ones")

    def begin(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Read the command line (None: the process's), draw a seed where none is given, print how to repeat this."""
        options = self.parser.parse_args(arguments)
        if options.seed is None:
            options.seed = random.SystemRandom().randrange(1 << 32)
        given = {name: value for name, value in vars(options).items() if value is not None}
        words = (f"--{name.replace('_', '-')} {value}" for name, value in given.items())
        self._replay = " ".join([self.parser.prog, *words])
        sys.stdout.write(f"replay: {self._replay}\n")
        sys.stdout.flush()
        return options

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for data and logs, which goes with the context."""
        with tempfile.TemporaryDirectory(prefix=f"sharedjox-{self._name}-") as folder:
            yield Path(folder)

    def finish(self, figures: Mapping[str, float], problems: Sequence[str], **details: object) -> int:
        """Print and write what a run came to; returns the exit status, 1 when a budget is missed.

        `details` go into the file only, beside the problems and the line that repeats the run.
        """
        for problem in problems[:SHOWN_PROBLEMS]:
            sys.stdout.write(f"  {problem}\n")
        report = Report(self._report, read_budgets(self._report, BUDGETS))
        report.add(**figures)
        report.details = {"replay": self._replay, **details, "problems": list(problems[:KEPT_PROBLEMS])}
        return report.finish(self._results)
