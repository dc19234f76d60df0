"""How long a page is busy at a time with 50 subscriptions and 500 events a second, in a real Chromium.

    python -m tests.benchmarks.browser [--seconds 30]

The demo app's Monitor page over a whole stack of its own, events through the signed HTTP API. The page notes its long
tasks (PerformanceObserver: those above 50 ms) and, with Echo's own listeners, what it hears. `web/e2e/support/load.ts`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .report import Report, read_budgets

WEB = Path(__file__).parents[2] / "web"


def measure(seconds: int, result: Path) -> dict[str, object]:
    """Run the load in a browser and read what it found.

    Raises: subprocess.CalledProcessError when the page, the stack or the browser failed.
    """
    command = ["npm", "run", "--silent", "load", "-w", "@sharedjox/e2e"]
    environment = os.environ | {"LOAD_SECONDS": str(seconds), "LOAD_RESULT": str(result)}
    subprocess.run(command, cwd=WEB, env=environment, check=True, stdout=sys.stderr)
    found: dict[str, object] = json.loads(result.read_text("utf-8"))
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="sharedjox-bench-") as folder:
        found = measure(options.seconds, Path(folder) / "load.json")
    report = Report("browser", read_budgets("browser"))
    report.add(**{name: float(value) for name, value in found.items() if isinstance(value, int | float)})
    report.details["parameters"] = vars(options)
    report.details |= {name: value for name, value in found.items() if not isinstance(value, int | float)}
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
