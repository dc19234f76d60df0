"""Compiling the C programs of the benchmarks with the machine's `cc`; rebuilt when a source is newer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
BUILD: Final = FOLDER / "build"
FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


class NoCompilerError(Exception):
    """The C programs cannot be built here."""


def find_compiler() -> str:
    """The C compiler: `CC`, or the first of cc, gcc, clang. Raises: NoCompilerError."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    msg = "the load client is written in C and there is no C compiler: install gcc or clang"
    raise NoCompilerError(msg)


def _compile(target: Path, sources: list[Path], headers: list[Path]) -> Path:
    newest = max(path.stat().st_mtime for path in [*sources, *headers])
    if target.exists() and target.stat().st_mtime >= newest:
        return target
    compiler = find_compiler()
    target.parent.mkdir(exist_ok=True)
    fresh = target.with_suffix(f".{os.getpid()}")  # another run may execute the old one at this moment
    command = [compiler, *FLAGS, "-o", str(fresh), *map(str, sources), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"compiling {target.name} failed: {' '.join(command)}\n{done.stderr}"
        raise NoCompilerError(msg)
    fresh.replace(target)
    return target


def build_load_client() -> Path:
    """The load client's program. Raises: NoCompilerError."""
    sources = [FOLDER / f"{name}.c" for name in ("digest", "text", "publisher", "probe", "worker", "main")]
    return _compile(BUILD / "load_client", sources, [FOLDER / "load.h", FOLDER / "digest.h"])


def build_baseline() -> Path:
    """The baseline server's program. Raises: NoCompilerError."""
    return _compile(BUILD / "baseline", [FOLDER.parent / "baseline" / "server.c"], [])


def build_core_distance() -> Path:
    """The program that measures how far cores are apart. Raises: NoCompilerError."""
    return _compile(BUILD / "core_distance", [FOLDER.parent / "core_distance" / "distance.c"], [])
