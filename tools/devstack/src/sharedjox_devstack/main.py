"""`sharedjox-devstack`: run the whole platform on this machine, or say what it lacks."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from .doctor import diagnose
from .down import end_stack
from .errors import DevstackError
from .output import Console
from .settings import Environment
from .stack import Stack
from .supervisor import StopRequested
from .tether import die_with_parent
from .web_build import WebApp, require_node

REPOSITORY: Final = Path(__file__).parents[4]


class StopSignals:
    """Counts the requests to end: Ctrl-C, SIGTERM, and the terminal's hang-up unless `nohup` asked to ignore that."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def up() -> int:
    """Run the stack until it is told to end; 0 when it ended in order, 1 when it could not start."""
    signals = StopSignals()
    if "MAKELEVEL" in os.environ:
        # make runs us as its child: when it is killed, the stack it started ends as well.
        die_with_parent(signal.SIGTERM, os.getppid())
    console = Console()
    try:
        Stack(REPOSITORY, Environment.read(REPOSITORY), console, lambda: signals.count).run()
    except StopRequested:
        return 0
    except DevstackError as error:
        for line in str(error).splitlines():
            console.say(f"error: {line}")
        return 1
    finally:
        console.close()
    return 0


def down() -> int:
    """End the stack that runs on DATA_DIR; 0 when none runs there any more."""
    try:
        data_dir = Environment.read(REPOSITORY).settings().data_folder(REPOSITORY)
        end_stack(data_dir, lambda line: print(line, flush=True))
    except DevstackError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def build_web() -> int:
    """Build the web app; 0 when it is built and current."""
    web = WebApp(REPOSITORY)
    try:
        require_node()
        if not web.exists:
            msg = "web/ has no app with a package-lock.json"
            raise DevstackError(msg)
        web.build(lambda _name, command, folder: subprocess.run(command, cwd=folder, check=False).returncode)
    except DevstackError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="sharedjox-devstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything, supervise it, stop it on Ctrl-C")
    commands.add_parser("down", help="stop the stack that runs on DATA_DIR")
    commands.add_parser("build-web", help="install and build the web app when its sources changed")
    commands.add_parser("doctor", help="check what the machine has and lacks")
    actions: dict[str, Callable[[], int]] = {
        "up": up,
        "down": down,
        "build-web": build_web,
        "doctor": lambda: diagnose(REPOSITORY),
    }
    return actions[parser.parse_args(arguments).command]()


if __name__ == "__main__":
    sys.exit(main())
