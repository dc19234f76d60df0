"""`make doctor`: what this machine has and lacks, one line each."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from . import postgres, redis
from .errors import DevstackError
from .ports import is_free, owner
from .preflight import require_python, running_stack
from .settings import Environment
from .web_build import node_version, require_node

Check = tuple[str, Callable[[], str], bool]
"""What is looked at, the look (raises DevstackError), whether the two commands need it."""


def diagnose(repository: Path) -> int:
    """Print every check; returns 1 when something needed is missing."""
    needed_missing = False
    for what, look, needed in _checks(repository):
        try:
            sys.stdout.write(f"ok    {what}: {look()}\n")
        except DevstackError as error:
            needed_missing |= needed
            sys.stdout.write(f"{'MISS' if needed else 'note'}  {what}: {error}\n")
    return int(needed_missing)


def _checks(repository: Path) -> list[Check]:
    return [
        ("Python", _python, True),
        ("Node", _node, True),
        ("embedded Postgres", lambda: f"version {postgres.server_major()}, run as {postgres.run_as().value}", True),
        ("embedded Redis", lambda: str(redis.binary().name), True),
        ("settings", lambda: _settings(repository), True),
        ("ports", lambda: _ports(repository), True),
        ("disk", lambda: _disk(repository), True),
        ("open files", _open_files, False),
        ("Chromium (browser tests)", lambda: _program("chromium", "chromium-browser", "google-chrome"), False),
        ("Docker (make up-compose)", lambda: _program("docker"), False),
        ("kubectl (manifest tests)", lambda: _program("kubectl"), False),
    ]


def _python() -> str:
    require_python()
    return f"{platform.python_version()} in {sys.prefix}"


def _node() -> str:
    require_node()
    return f"{node_version()}, with npm"


def _settings(repository: Path) -> str:
    settings = Environment.read(repository).settings()
    return f"api on {settings.api_port}, gateways on {settings.reverb_port}, data in {settings.data_dir}"


def _ports(repository: Path) -> str:
    settings = Environment.read(repository).settings()
    running = running_stack(settings.data_folder(repository) / "run")
    if running is not None:
        return f"in use by the stack that runs here (pid {running})"
    for name, port in (("API_PORT", settings.api_port), ("REVERB_PORT", settings.reverb_port)):
        if not is_free(port):
            holder = owner(port) or "another process"
            msg = f"{name} {port} is taken by {holder}: stop that, or set {name} to another port"
            raise DevstackError(msg)
    return "free"


def _disk(repository: Path) -> str:
    free_gigabytes = shutil.disk_usage(repository).free / 1e9
    if free_gigabytes < 2:
        msg = f"only {free_gigabytes:.1f} GB free: 2 GB are needed"
        raise DevstackError(msg)
    return f"{free_gigabytes:.0f} GB free"


def _open_files() -> str:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return f"up to {hard} per process (one per WebSocket connection), {os.cpu_count()} cores"


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    msg = f"{names[0]} is not installed"
    raise DevstackError(msg)
