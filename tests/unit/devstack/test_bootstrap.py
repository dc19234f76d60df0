"""The first thing a new user sees: installing, with its progress and its failures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.processes import REPOSITORY


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    """A script, not a package: it runs before there are any packages."""
    spec = importlib.util.spec_from_file_location("bootstrap", REPOSITORY / "tools" / "devstack" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(program: str) -> list[str]:
    return [sys.executable, "-I", "-c", program]


def test_a_failure_shows_the_last_words_and_says_what_to_do(
    bootstrap: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"installing packages failed .*package index settings"):
        bootstrap.run("packages", python("print('no such package'); raise SystemExit(1)"), tmp_path)
    assert capsys.readouterr().out == "no such package\n"


def test_a_command_that_goes_silent_is_reported_on_all_the_same(
    bootstrap: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pip = "import time; print('Collecting aiohttp==3.14.5 (from -r /x/requirements.lock)', flush=True); time.sleep(1.5)"
    bootstrap.run("packages", python(pip), tmp_path, total=141, every_seconds=0.05)
    assert "  packages: 1/141 aiohttp 3.14.5 (" in capsys.readouterr().out


def test_a_quick_command_says_nothing(
    bootstrap: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap.run("packages", python("print('done')"), tmp_path)
    assert capsys.readouterr().out == ""
