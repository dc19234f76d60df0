"""Builds the optional code in C into the package when a compiler is there; without one the gateway is pure Python.

`python hatch_build.py` does the same for a checkout. `SHAREDJOX_NATIVE=0` leaves it out, `=1` makes a failure an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
PACKAGE = Path("src") / "sharedjox_gateway"
EXTENSIONS = {
    "sending.c": PACKAGE / "connection" / "_sending.abi3.so",
    "receiving.c": PACKAGE / "protocol" / "_receiving.abi3.so",
    "pushes.c": PACKAGE / "broker" / "_pushes.abi3.so",
}
if sys.platform == "linux":
    EXTENSIONS["sockets.c"] = PACKAGE / "connection" / "_sockets.abi3.so"  # epoll
"""Sources in `native/`, and what is made of them."""


class NativeBuildError(Exception):
    """The extension cannot be built here."""


def compile_extensions() -> list[Path]:
    """Compile against the running Python's headers (stable ABI, 3.11 and newer). Raises: NativeBuildError."""
    compiler = next(
        (found for name in (os.environ.get("CC"), "cc", "gcc", "clang") if (found := shutil.which(name or ""))), None
    )
    headers = Path(sysconfig.get_path("include"))
    if compiler is None or not (headers / "Python.h").exists():
        msg = "no C compiler" if compiler is None else f"no Python.h in {headers}"
        raise NativeBuildError(msg)
    return [_compile(compiler, headers, ROOT / "native" / name, ROOT / target) for name, target in EXTENSIONS.items()]


def _compile(compiler: str, headers: Path, source: Path, target: Path) -> Path:
    fresh = target.with_suffix(f".{os.getpid()}")
    link = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    command = [compiler, "-O2", "-fPIC", "-Wall", "-Wextra", *link, f"-I{headers}", "-o", str(fresh), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command line
    if done.returncode:
        raise NativeBuildError(f"{compiler} failed:\n{done.stderr}")
    fresh.replace(target)
    return target


class NativeBuildHook(BuildHookInterface[Any]):
    """hatchling calls this for wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as one for this platform when that worked."""
        wish = os.environ.get("SHAREDJOX_NATIVE", "")
        if self.target_name != "wheel" or wish == "0":
            return
        try:
            compile_extensions()
        except NativeBuildError as error:
            if wish == "1":
                raise
            self.app.display_warning(f"sharedjox-gateway without its code in C: {error}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"] += [str(target) for target in EXTENSIONS.values()]


if __name__ == "__main__":
    sys.stdout.writelines(f"{target}\n" for target in compile_extensions())
