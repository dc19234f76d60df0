"""Programs that are in no package index for Python: the machine's own, or Debian's package unpacked beside us."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from .processes import REPOSITORY

UNPACKED: Final = REPOSITORY / ".venv" / "debian"
"""`make clean` removes it."""
UNPACK_SECONDS: Final = 180


@dataclass(frozen=True, slots=True)
class Program:
    """How to run it: the command, and what its environment needs."""

    command: str
    env: dict[str, str] = field(default_factory=dict)


def find_program(name: str, package: str, *libraries: str) -> Program:
    """The machine's `name`, or the one in Debian's `package` (with `libraries`), unpacked without being installed.

    On a machine that has neither, nor a way to get it, the test is skipped and says why, so that all else can be tested
    there; with CI set, as the gate sets it, that is a failure.
    """
    program = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if program is not None:
        return Program(program)
    folder = UNPACKED / package
    with _alone():
        found = next((path for path in folder.glob(f"usr/*bin/{name}")), None)
        reason = _unpack(package, *libraries) if found is None else ""
        found = next((path for path in folder.glob(f"usr/*bin/{name}")), None)
        if found is None:
            message = f"{name} is not installed and its package cannot be had ({reason}): apt install {package}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
    return Program(str(found), {"LD_LIBRARY_PATH": ":".join(map(str, folder.glob("usr/lib/*-linux-gnu")))})


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Tests run side by side: nobody may see, or take for missing, what another one is unpacking."""
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with (UNPACKED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(package: str, *libraries: str) -> str:
    """Download without installing (no root needed); returns why not, or nothing."""
    folder = UNPACKED / package
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "no apt-get"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for wanted in (package, *libraries):
            _run(folder, "apt-get", "download", "-qq", wanted)
        for archive in folder.glob("*.deb"):
            _run(folder, "dpkg-deb", "-x", archive.name, ".")
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        return str(error)
    return ""


def _run(folder: os.PathLike[str], *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=UNPACK_SECONDS)
