"""Runs the browser tests of `web/e2e`, each file as one test here, all on one stack that they start themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[3] / "web"
TEST_FILES = sorted(path.name.removesuffix(".test.ts") for path in (WEB / "e2e" / "tests").glob("*.test.ts"))


@pytest.mark.timeout(600)  # its steps have deadlines of their own
@pytest.mark.parametrize("name", TEST_FILES)
def test_pages_in_chromium(name: str) -> None:
    """What people see in a real browser; the failing steps are in the output."""
    done = subprocess.run(
        ["npm", "run", "--silent", "e2e", "-w", "@sharedjox/e2e", "--", f"tests/{name}.test.ts"],
        cwd=WEB,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_there_are_browser_tests() -> None:
    """An empty list would pass silently."""
    assert {"accessibility", "faults", "journey", "responsiveness"} <= set(TEST_FILES)
