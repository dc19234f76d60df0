"""A child process that is certain to end: with us, on request, or by force."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from .errors import DevstackError

TETHER: Final = Path(__file__).with_name("tether.py")
POLL_SECONDS: Final = 0.02


def tethered(command: Sequence[str], *, death_signal: signal.Signals) -> list[str]:
    """`command`, sent `death_signal` by the kernel when this process ends in whatever way."""
    return [sys.executable, "-I", "-S", str(TETHER), str(int(death_signal)), str(os.getpid()), *command]


def is_alive(pid: int) -> bool:
    """Whether a process of that id exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
        )
    return True


def wait_until(predicate: Callable[[], bool], *, seconds: float) -> bool:
    """Poll until `predicate` holds; False when the deadline came first."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class ManagedProcess:
    """One child in its own session: the terminal's Ctrl-C and hang-up reach only us, who stop it in order.

    `command` must already be tethered where it is to die with us (`tethered`). `output` is a file that the child
    appends to itself, or a function that gets each line on a thread of its own.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        output: Path | Callable[[str], None],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 10.0,
    ) -> None:
        self.name = name
        self.command = list(command)
        self._output = output
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._stop_signal = stop_signal
        self.stop_seconds = stop_seconds
        self._popen: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Process id of the running, or of the last, child."""
        if self._popen is None:
            msg = f"{self.name} was never started"
            raise DevstackError(msg)
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether the child lives. Reaps it when it does not."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status; negative for a signal; None while running or never started."""
        return None if self._popen is None else self._popen.poll()

    @property
    def log_text(self) -> str:
        """What the child wrote so far; empty when its output goes to a function."""
        if isinstance(self._output, Path) and self._output.exists():
            return self._output.read_text(encoding="utf-8", errors="replace")
        return ""

    def start(self) -> None:
        """Start the child; may be called again once it ended. Raises: DevstackError when the program is missing."""
        if isinstance(self._output, Path):
            self._output.parent.mkdir(parents=True, exist_ok=True)
            with self._output.open("ab") as log:
                self._spawn(log)
            return
        popen = self._spawn(subprocess.PIPE)
        if popen.stdout is not None:
            self._pump = threading.Thread(target=_pump, args=(popen.stdout, self._output), daemon=True)
            self._pump.start()

    def _spawn(self, stdout: IO[bytes] | int) -> subprocess.Popen[bytes]:
        try:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        except OSError as error:
            msg = f"cannot start {self.name}: {error.filename or self.command[0]}: {error.strerror}"
            raise DevstackError(msg) from error
        return self._popen

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the child; nothing happens when it has ended."""
        if self._popen is not None:
            self._popen.send_signal(number)

    def request_stop(self) -> None:
        """Ask the child to end; `finish_stop` waits for it."""
        self.send_signal(self._stop_signal)

    def finish_stop(self, *, seconds: float | None = None) -> bool:
        """Wait for the end that was asked for, then force it. Returns whether force was needed."""
        if self._popen is None:
            return False
        forced = False
        try:
            self._popen.wait(self.stop_seconds if seconds is None else seconds)
        except subprocess.TimeoutExpired:
            forced = True
            self.kill()
        if self._pump is not None:
            self._pump.join(timeout=1)
        return forced

    def stop(self) -> bool:
        """Ask, wait, force. Returns whether force was needed."""
        self.request_stop()
        return self.finish_stop()

    def kill(self) -> None:
        """End the child and its process group at once (SIGKILL works on stopped and hung processes too)."""
        if self._popen is None:
            return
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()


def _pump(stream: IO[bytes], write: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            write(line.decode(errors="replace").rstrip("\n"))
