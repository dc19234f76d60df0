"""Keeps the stack's processes running, and ends all of them in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import DevstackError
from .process import ManagedProcess

FIRST_BACKOFF_SECONDS: Final = 0.25
LONGEST_BACKOFF_SECONDS: Final = 15.0
PROGRESS_SECONDS: Final = 5.0
STABLE_SECONDS: Final = 30.0
"""A process that ran this long starts again without a backoff from earlier failures."""
BAD_SETTINGS_STATUS: Final = 2
"""The exit status with which a service refuses its settings; starting it again cannot help."""


class StopRequested(Exception):  # noqa: N818 - not an error: somebody pressed Ctrl-C
    """The person wants the stack to end."""


@dataclass(slots=True)
class Supervised:
    """One process under supervision."""

    process: ManagedProcess
    is_ready: Callable[[], bool]
    before_start: Callable[[], object] = lambda: None
    last_lines: Collection[str] = ()
    """The newest lines of its output, for the message when it fails."""
    started_at: float = 0.0
    backoff: float = 0.0
    restart_at: float | None = None
    was_ready: bool = False

    @property
    def name(self) -> str:
        """The service's name."""
        return self.process.name


class Supervisor:
    """Starts, watches, restarts and stops. Everything happens on the thread that calls it.

    `say` prints a line; `stop_requested` tells that the person wants to end, and is asked often.
    """

    def __init__(self, run_dir: Path, *, say: Callable[[str], None], stop_requested: Callable[[], int]) -> None:
        self._run_dir = run_dir
        self._say = say
        self._stop_requested = stop_requested
        self._children: list[Supervised] = []

    def start(self, *children: Supervised, seconds: float) -> None:
        """Start them together and wait until all are ready.

        Raises: DevstackError when one ends or is not ready in time; StopRequested.
        """
        for child in children:
            self._children.append(child)
            self._launch(child)
        deadline = time.monotonic() + seconds
        waiting = list(children)
        while waiting:
            self.checkpoint()
            waiting = [child for child in waiting if not self._became_ready(child)]
            if waiting and time.monotonic() > deadline:
                raise DevstackError(_failure(waiting[0], f"was not ready within {seconds:g} s"))
            self._pause(0.05)

    def _became_ready(self, child: Supervised) -> bool:
        if not child.process.is_running:
            raise DevstackError(_failure(child, f"ended while starting ({_ending(child.process.returncode)})"))
        child.was_ready = child.is_ready()
        return child.was_ready

    def checkpoint(self) -> None:
        """Raise StopRequested when the person wants to end."""
        if self._stop_requested():
            raise StopRequested

    def run_to_end(self, process: ManagedProcess, *, progress: Callable[[float], None] = lambda _seconds: None) -> int:
        """Run a step (migration, build) to its end; returns its status. Raises: StopRequested, having ended it.

        `progress` is told the seconds so far, now and then.
        """
        started = time.monotonic()
        next_report = started + PROGRESS_SECONDS
        process.start()
        try:
            while process.is_running:
                self.checkpoint()
                self._watch_all()
                self._pause(0.02)
                if time.monotonic() >= next_report:
                    next_report += PROGRESS_SECONDS
                    progress(time.monotonic() - started)
        finally:
            process.kill()
        return process.returncode or 0

    def watch(self) -> None:
        """Keep everything running until the person wants to end."""
        while not self._stop_requested():
            self._watch_all()
            self._pause(0.1)

    def stop(self, *waves: Sequence[str]) -> None:
        """Stop by name, wave after wave; each wave's processes stop together. A second request to stop hurries."""
        for wave in waves:
            children = [child for child in self._children if child.name in wave]
            for child in children:
                if child.process.is_running:
                    self._say(f"stopping {child.name}")
                child.process.request_stop()
            for child in children:
                self._finish(child)

    def _finish(self, child: Supervised) -> None:
        limit = time.monotonic() + child.process.stop_seconds
        while child.process.is_running and time.monotonic() < limit and self._stop_requested() < 2:
            self._pause(0.02)
        if child.process.finish_stop(seconds=0):
            self._say(f"{child.name} did not stop: killed")
        (self._run_dir / f"{child.name}.pid").unlink(missing_ok=True)
        self._children.remove(child)

    def _watch_all(self) -> None:
        for child in self._children:
            if not child.process.is_running:
                self._revive(child)
            elif not child.was_ready and child.is_ready():
                child.was_ready = True
                self._say(f"{child.name} is ready again (pid {child.process.pid})")

    def _revive(self, child: Supervised) -> None:
        now = time.monotonic()
        if child.restart_at is None:
            stable = now - child.started_at > STABLE_SECONDS
            doubled = min(max(child.backoff * 2, FIRST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)
            child.backoff = FIRST_BACKOFF_SECONDS if stable else doubled
            child.restart_at = now + child.backoff
            ending = _ending(child.process.returncode)
            self._say(f"{child.name} ended ({ending}); starting it again in {child.backoff:g} s")
        elif now >= child.restart_at:
            child.restart_at = None
            try:
                self._launch(child)
            except DevstackError as error:
                self._say(f"{child.name}: {error}")

    def _launch(self, child: Supervised) -> None:
        child.was_ready = False
        child.started_at = time.monotonic()
        child.before_start()
        child.process.start()
        pid_file = self._run_dir / f"{child.name}.pid"
        unfinished = pid_file.with_suffix(".new")
        unfinished.write_text(f"{child.process.pid}\n", encoding="ascii")
        unfinished.replace(pid_file)

    @staticmethod
    def _pause(seconds: float) -> None:
        time.sleep(seconds)


def _ending(returncode: int | None) -> str:
    if returncode is None:
        return "running"
    return f"signal {-returncode}" if returncode < 0 else f"status {returncode}"


def _failure(child: Supervised, what: str) -> str:
    refusals = [line for line in child.last_lines if line.startswith("error: ")]
    if child.process.returncode == BAD_SETTINGS_STATUS and refusals:
        return "\n".join(f"{child.name}: {line.removeprefix('error: ')}" for line in refusals)
    telling = [line for line in child.last_lines if "FATAL" in line or "Error" in line] or list(child.last_lines)
    return f"{child.name} {what}: {telling[-1] if telling else 'it said nothing'}"
