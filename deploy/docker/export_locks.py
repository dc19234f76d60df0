"""Write the images' locks beside this script: what each service needs, with hashes, and what builds wheels.

Needs uv and a current uv.lock; `make lock` runs it after resolving. The versions are those of requirements.lock.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = HERE.parents[1]
SERVICES: Final = {"api": "sharedjox-api", "worker": "sharedjox-worker", "ws_gateway": "sharedjox-gateway"}
BUILD_TOOLS: Final = frozenset(
    {"hatchling", "setuptools", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
)


def export(package: str, target: Path) -> None:
    """The lock of one workspace package, without our own packages and without comments."""
    subprocess.run(  # noqa: S603 - our own words
        [
            *("uv", "export", "--quiet", "--frozen", "--package", package, "--no-dev", "--no-emit-workspace"),
            *("--no-header", "--no-annotate", "--format", "requirements.txt", "--output-file", str(target)),
        ],
        cwd=REPOSITORY,
        check=True,
    )


def part_of(lock: str, names: frozenset[str]) -> str:
    """The entries of a lock that name these packages."""
    kept: list[str] = []
    is_kept = False
    for line in lock.splitlines():
        if line and not line.startswith((" ", "#")):
            is_kept = line.split("==")[0] in names
        if is_kept and not line.lstrip().startswith("#"):
            kept.append(line)
    return "\n".join(kept) + "\n"


def main() -> None:
    """Write all four."""
    for name, package in SERVICES.items():
        export(package, HERE / f"{name}.lock")
    whole = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    (HERE / "build.lock").write_text(part_of(whole, BUILD_TOOLS), encoding="utf-8")


if __name__ == "__main__":
    main()
