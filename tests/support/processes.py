"""Services as real processes with captured logs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sharedjox_devstack.ports import http_status
from sharedjox_devstack.process import ManagedProcess, tethered

from .polling import eventually_sync, scaled

REPOSITORY = Path(__file__).parents[2]

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
"""What a service gets from the machine; everything else in its environment is the test's."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The machine's basics plus `extra`: a developer's own settings never reach a test."""
    base = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return base | {"APP_ENV": "test", "LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"} | dict(extra or {})


def python_module(module: str, *arguments: str) -> list[str]:
    """The command line of `python -m module` in this virtual environment."""
    return [sys.executable, "-m", module, *arguments]


def run_module(module: str, *arguments: str, env: Mapping[str, str]) -> str:
    """Run `python -m module` to its end; returns its output. Raises: AssertionError with the output on failure."""
    done = subprocess.run(
        python_module(module, *arguments),
        env=clean_environment(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    assert done.returncode == 0, f"{module} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout


class ServiceProcess:
    """One service as a process of its own: start, wait until ready, signal, stop, read its log.

    `ready_port` and `ready_path` name the URL whose 200 means ready; without a port the process is ready at once.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        env: Mapping[str, str] | None = None,
        ready_port: int = 0,
        ready_path: str = "/readyz",
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.ready_port = ready_port
        self._ready_path = ready_path
        self.process = ManagedProcess(
            name,
            tethered(command, death_signal=signal.SIGKILL),
            output=log_file,
            env=clean_environment(env),
            cwd=REPOSITORY,
            stop_signal=stop_signal,
            stop_seconds=scaled(15),
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def log_text(self) -> str:
        """Everything it wrote, over all its starts."""
        return self.process.log_text

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.is_running

    def start(self, *, wait: bool = True) -> None:
        """Start, and wait until it is ready unless told otherwise. Raises: AssertionError with the log's end."""
        self.process.start()
        if wait:
            self.wait_ready()

    def wait_ready(self, deadline: float = 30) -> None:
        """Wait until the readiness URL answers 200."""

        def ready() -> bool:
            if not self.process.is_running:
                msg = f"{self.name} ended with {self.process.returncode}:\n{self.log_text[-4000:]}"
                raise RuntimeError(msg)
            return self.ready_port == 0 or http_status(self.ready_port, self._ready_path) == 200

        try:
            eventually_sync(ready, deadline, what=f"{self.name} is ready")
        except AssertionError as error:
            msg = f"{error}\n{self.log_text[-4000:]}"
            raise AssertionError(msg) from None

    def stop(self) -> bool:
        """SIGTERM, wait, SIGKILL if it must be; returns whether it must."""
        return self.process.stop()

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP: the process hangs, its sockets stay."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()


@contextlib.contextmanager
def running(*services: ServiceProcess) -> Iterator[None]:
    """Start the services together, wait for all, and stop them in reverse order whatever happens."""
    try:
        for service in services:
            service.start(wait=False)
        for service in services:
            service.wait_ready()
        yield
    finally:
        for service in reversed(services):
            service.process.request_stop()
        for service in reversed(services):
            service.process.finish_stop()
