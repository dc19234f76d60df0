"""`make down`: end a stack from another terminal, in the same order as Ctrl-C does in its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .errors import DevstackError
from .preflight import running_stack
from .process import wait_until

STOP_SECONDS: Final = 60.0
"""A service has 20 s to end, and they end in four waves; usually all is over within two."""


def end_stack(data_dir: Path, say: Callable[[str], None]) -> None:
    """End the stack that runs on this data folder; nothing to do when none does. Raises: DevstackError."""
    run_dir = data_dir / "run"
    pid = running_stack(run_dir)
    if pid is None:
        say(f"no stack runs on {data_dir}")
        return
    say(f"stopping the stack on {data_dir} (pid {pid})")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not wait_until(lambda: running_stack(run_dir) is None, seconds=STOP_SECONDS):
        msg = f"pid {pid} has not ended after {STOP_SECONDS:g} s: `kill -9 {pid}`, the next `make up` cleans up"
        raise DevstackError(msg)
    say("stopped; the data is kept")
