"""Builds the single-page app when its sources changed. Without an app in `web/` the stack runs without one."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from .errors import DevstackError

NODE_MINIMUM: Final = 20
_SKIPPED: Final = frozenset({"node_modules", "dist", "test-results", "playwright-report", "coverage", ".vite"})
RunStep = Callable[[str, list[str], Path], int]
"""Runs a named command in a folder to its end and returns its status, showing its output."""


def node_version() -> str | None:
    """Node's version without "v"; None when there is no Node."""
    program = shutil.which("node")
    if program is None:
        return None
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.strip().removeprefix("v") or None


def require_node() -> None:
    """Raises: DevstackError when Node is missing or too old."""
    found = node_version()
    major = int(match.group()) if found is not None and (match := re.match(r"\d+", found)) else 0
    if major < NODE_MINIMUM or shutil.which("npm") is None:
        msg = (
            f"Node {NODE_MINIMUM} or newer with npm is needed for the web app (found {found or 'none'}): "
            f"install it, or set WEB_BUILD=false to run without the app"
        )
        raise DevstackError(msg)


class WebApp:
    """The npm workspace in `web/` and the app that it builds."""

    def __init__(self, repository: Path) -> None:
        self._root = repository / "web"
        self.dist = self._root / "apps" / "demo" / "dist"

    @property
    def exists(self) -> bool:
        """Whether there is an app with a lock file, so that it can be installed."""
        return (self._root / "package-lock.json").exists() and (self._root / "apps" / "demo" / "package.json").exists()

    def build(self, run_step: RunStep) -> bool:
        """Install and build as far as something changed; returns whether anything was done.

        Several stacks of one checkout take turns. Raises: DevstackError when a step fails.
        """
        with self._turn():
            installed = self._step("npm-ci", self._install_hash(), ["npm", "ci", "--loglevel=error"], run_step)
            built = self._step(
                "build",
                self._source_hash(),
                ["npm", "run", "build", "--loglevel=error"],
                run_step,
                missing=not self._is_built(),
            )
        return installed or built

    def publish(self, folder: Path, *, config: Mapping[str, str]) -> None:
        """Copy the built app to `folder`, with `config.json`: where the page finds its gateway.

        Each stack serves a copy of its own, so that stacks on other ports, and later builds, leave it alone.
        """
        unfinished = folder.with_name(f"{folder.name}.new")
        with self._turn():
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(self.dist, unfinished)
        (unfinished / "config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)

    def _is_built(self) -> bool:
        return (self.dist / "index.html").exists()

    def _step(self, name: str, wanted: str, command: list[str], run_step: RunStep, *, missing: bool = False) -> bool:
        stamp = self._root / "node_modules" / f".sharedjox-{name}"
        if not missing and stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
            return False
        if run_step("web", command, self._root) != 0:
            words = " ".join(word for word in command if not word.startswith("--"))
            msg = f"`{words}` failed in web/ (see above); WEB_BUILD=false runs without the app"
            raise DevstackError(msg)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(wanted, encoding="ascii")
        return True

    def _install_hash(self) -> str:
        """Of what `npm ci` reads; hashed before it runs, so nothing that it writes may be among the files."""
        packages = [*self._root.glob("packages/*/package.json"), *self._root.glob("apps/*/package.json")]
        files = [self._root / "package-lock.json", *self._root.glob("package.json"), *packages]
        return _hash(self._root, files, salt=node_version() or "")

    def _source_hash(self) -> str:
        return _hash(self._root, list(_files_below(self._root)), salt=os.environ.get("VITE_WS_URL", ""))

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        folder = os.open(self._root, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _files_below(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in _SKIPPED)
        yield from (Path(folder) / name for name in sorted(names) if not name.endswith(".tsbuildinfo"))


def _hash(root: Path, files: list[Path], *, salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    for file in sorted(files):
        digest.update(f"{file.relative_to(root)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
