"""The extension is optional: built where a compiler is, reported and left out where none is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from sharedjox_gateway.connection import sending

REPOSITORY = Path(__file__).parents[4]
BUILD = REPOSITORY / "services" / "ws_gateway" / "hatch_build.py"


def test_without_a_compiler_the_reason_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BUILD)], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "no C compiler" in done.stderr


def test_with_a_compiler_it_can_be_built() -> None:
    can_build = shutil.which("cc") and (Path(sysconfig.get_path("include")) / "Python.h").exists()
    done = subprocess.run([sys.executable, str(BUILD)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == bool(can_build), done.stderr


def test_switched_off_it_is_not_used() -> None:
    from sharedjox_gateway.hub.fanout import offer_to_each

    assert sending.choose_send(use_native=False) == (offer_to_each, 0)
