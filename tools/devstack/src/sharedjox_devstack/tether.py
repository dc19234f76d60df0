"""Become another program that the kernel stops when our parent dies, even by kill -9.

Run as `python -I -S tether.py SIGNAL PARENT_PID PROGRAM [ARG...]`: standard library only, no import of ours, so that it
costs a few milliseconds and can run inside a user namespace. The program keeps this process id.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
"""prctl(2): the signal this process gets when the thread that made it ends. Kept across exec, Linux only."""


def die_with_parent(signal_number: int, parent_pid: int) -> None:
    """Ask the kernel for `signal_number` when the parent ends; leave at once when it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent_pid:
        os._exit(1)


def main() -> None:
    """Entry point. An unknown program ends with status 127, as in a shell."""
    signal_number, parent_pid, *command = sys.argv[1:]
    die_with_parent(int(signal_number), int(parent_pid))
    try:
        os.execvp(command[0], command)  # noqa: S606 - the whole point: no shell, same pid
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main()
