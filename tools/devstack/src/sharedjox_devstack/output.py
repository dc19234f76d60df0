"""What a person sees while the stack runs: our own lines, and each service's lines with its name in front.

Writing happens on a thread of its own behind a bounded queue: a terminal that stands still (Ctrl-S, a full pipe) never
stops the supervisor or, through their pipes, the services. Every line also goes to a file, where none is dropped.
"""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
from pathlib import Path
from typing import IO, Final

_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
_COLOURS: Final = (36, 33, 32, 35, 34, 96, 92, 95)
QUEUE_LINES: Final = 10_000
ROTATE_BYTES: Final = 20 * 1024 * 1024
CLOSE_SECONDS: Final = 2.0


class LogFile:
    """A service's log under DATA_DIR/log; the previous 20 MB are kept beside it as `.1`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file: IO[str] = path.open("a", encoding="utf-8", buffering=1)

    def write(self, line: str) -> None:
        """Append one line without its colours."""
        if self._file.tell() > ROTATE_BYTES:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        self._file.write(_ANSI.sub("", line) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Console:
    """The terminal. Use `say` for our own lines and `show` for a service's."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._coloured = self._stream.isatty() and "NO_COLOR" not in os.environ
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_LINES)
        self._dropped = 0
        self._colour_of: dict[str, int] = {}
        self._thread = threading.Thread(target=self._write_forever, name="console", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Print lines of ours."""
        self._offer(text)

    def show(self, name: str, line: str) -> None:
        """Print a line of a service."""
        if not self._coloured:
            self._offer(f"{name:<9} | {_ANSI.sub('', line)}")
            return
        colour = self._colour_of.setdefault(name, _COLOURS[len(self._colour_of) % len(_COLOURS)])
        self._offer(f"\x1b[{colour}m{name:<9}\x1b[0m | {line}")

    def close(self) -> None:
        """Write what is queued, as far as the terminal takes it."""
        try:
            self._queue.put(None, timeout=CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _offer(self, text: str) -> None:
        try:
            self._queue.put_nowait(text)
        except queue.Full:
            self._dropped += 1

    def _write_forever(self) -> None:
        hung_up = False
        while (text := self._queue.get()) is not None:
            if hung_up:
                continue
            try:
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    self._stream.write(f"({dropped} lines left out here; the log files have them)\n")
                self._stream.write(f"{text}\n")
                if self._queue.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                # The terminal is gone, or the reader of a pipe. The files go on.
                hung_up = True
