"""What must hold before anything starts; every failure is one line that says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
from redis import Redis
from redis.exceptions import RedisError

from .errors import DevstackError
from .ports import PortClaims, free_port, is_free, owner
from .process import is_alive, wait_until
from .services import GATEWAY_COUNT, ServicePorts
from .settings import (
    ADMIN_PORT_DEFAULT,
    POSTGRES_PORT_DEFAULT,
    REDIS_PORT_DEFAULT,
    WORKER_METRICS_PORT_DEFAULT,
    StackSettings,
)

PYTHON_MINIMUM: Final = (3, 11)
MARKER: Final = "SHAREDJOX_RUN_DIR"
"""Environment variable that tells which stack a process belongs to."""


@dataclass(frozen=True, slots=True)
class StackPorts:
    """Every port of the stack. The servers' are None where a server of one's own is used."""

    services: ServicePorts
    postgres: int | None
    redis: int | None


def require_python() -> None:
    """Raises: DevstackError when this Python is too old."""
    if sys.version_info < PYTHON_MINIMUM:
        msg = f"Python {PYTHON_MINIMUM[0]}.{PYTHON_MINIMUM[1]} or newer is needed, this is {sys.version.split()[0]}"
        raise DevstackError(msg)


def prepare_data_dir(data_dir: Path) -> Path:
    """Make the data and run folders; returns the run folder. Raises: DevstackError when we may not write there."""
    run_dir = data_dir / "run"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe = run_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        msg = f"cannot write DATA_DIR {data_dir} ({error.strerror}): fix its owner or set DATA_DIR to a folder of yours"
        raise DevstackError(msg) from error
    return run_dir


@contextlib.contextmanager
def only_stack(run_dir: Path) -> Iterator[None]:
    """Hold the data folder for us alone. Raises: DevstackError when another stack runs on it."""
    descriptor = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            msg = (
                f"a stack already runs on {run_dir.parent} (pid {holder or '?'}): stop it (make down), "
                f"or set DATA_DIR, API_PORT and REVERB_PORT to run a second one"
            )
            raise DevstackError(msg) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def running_stack(run_dir: Path) -> int | None:
    """The process that holds the data folder; None when nobody does."""
    try:
        descriptor = os.open(run_dir / "lock", os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        return int(holder) if holder.isdigit() else None  # it has the lock since a moment ago
    finally:
        os.close(descriptor)
    return None


def end_leftovers(run_dir: Path, say: Callable[[str], None]) -> None:
    """End processes that a killed run of this very stack left behind; forget its pid files."""
    for pid_file in sorted(run_dir.glob("*.pid")):
        with contextlib.suppress(ValueError, ProcessLookupError):
            pid = int(pid_file.read_text(encoding="ascii"))
            if is_alive(pid) and _belongs_to_us(pid, run_dir):
                say(f"ending {pid_file.stem} (pid {pid}) of an earlier run that was killed")
                os.kill(pid, signal.SIGINT if pid_file.stem == "postgres" else signal.SIGTERM)
                if not _ends(pid, seconds=10):
                    os.kill(pid, signal.SIGKILL)
                    _ends(pid, seconds=5)
        pid_file.unlink(missing_ok=True)


def _ends(pid: int, *, seconds: float) -> bool:
    return wait_until(lambda: not is_alive(pid), seconds=seconds)


def _belongs_to_us(pid: int, run_dir: Path) -> bool:
    """By the marker in its environment, or, for the servers (which overwrite theirs), by its working folder."""
    process = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        if run_dir.resolve().parent in Path(os.readlink(process / "cwd")).parents:
            return True
    with contextlib.suppress(OSError):
        return f"{MARKER}={run_dir.resolve()}".encode() in (process / "environ").read_bytes().split(b"\0")
    return False


@contextlib.contextmanager
def chosen_ports(settings: StackSettings, say: Callable[[str], None]) -> Iterator[StackPorts]:
    """The ports to use, all free now; no other stack takes them until the block ends.

    A port that was asked for (and the two that people type: api and gateway) must be free; the internal ones give way.
    Raises: DevstackError naming the setting, the port, and who holds it.
    """
    claims = PortClaims()
    try:
        yield _choose_ports(settings, _Chooser(claims, say))
    finally:
        claims.release()


def _choose_ports(settings: StackSettings, chosen: _Chooser) -> StackPorts:
    chosen.require("API_PORT", settings.api_port, settings.api_host)
    chosen.require("REVERB_PORT", settings.reverb_port, settings.reverb_host)
    if len(chosen.taken) < 2:
        msg = f"API_PORT and REVERB_PORT are both {settings.api_port}: set one of them to another port"
        raise DevstackError(msg)
    first_admin = settings.gateway_admin_port
    admin = tuple(
        chosen.port("GATEWAY_ADMIN_PORT", first_admin and first_admin + number, ADMIN_PORT_DEFAULT + number)
        for number in range(GATEWAY_COUNT)
    )
    worker = chosen.port("WORKER_METRICS_PORT", settings.worker_metrics_port, WORKER_METRICS_PORT_DEFAULT)
    return StackPorts(
        ServicePorts(settings.api_port, settings.reverb_port, worker, admin),
        postgres=None
        if settings.database_url
        else chosen.port("POSTGRES_PORT", settings.postgres_port, POSTGRES_PORT_DEFAULT),
        redis=None if settings.redis_url else chosen.port("REDIS_PORT", settings.redis_port, REDIS_PORT_DEFAULT),
    )


class _Chooser:
    def __init__(self, claims: PortClaims, say: Callable[[str], None]) -> None:
        self.taken: set[int] = set()
        self._claims = claims
        self._say = say

    def require(self, name: str, port: int, host: str = "127.0.0.1") -> None:
        """Take this one. Raises: DevstackError when somebody has it."""
        is_claimed = self._claims.claim(port)
        if not is_free(port, host):
            holder = owner(port) or "another process, or may not be used by you"
        elif not is_claimed:
            holder = "another stack that is just starting"
        else:
            self.taken.add(port)
            return
        msg = f"port {port} is taken by {holder}: stop that, or set {name} to another port"
        raise DevstackError(msg)

    def port(self, name: str, wanted: int | None, default: int) -> int:
        """Take the one that is wanted, else the default, or any where that is taken."""
        if wanted is not None:
            if wanted in self.taken:
                msg = f"{name}: port {wanted} is used twice in the settings: set it to another port"
                raise DevstackError(msg)
            self.require(name, wanted)
            return wanted
        chosen = default
        if default in self.taken or not self._claims.claim(default) or not is_free(default):
            chosen = free_port()
            self._claims.claim(chosen)
            self._say(f"port {default} is taken by {owner(default) or 'another process'}: {name} is {chosen} this time")
        self.taken.add(chosen)
        return chosen


def require_database(url: str) -> None:
    """Raises: DevstackError when no Postgres answers at DATABASE_URL."""
    plain = "postgresql://" + url.partition("://")[2]

    async def connect() -> None:
        connection = await asyncpg.connect(plain, timeout=5)
        await connection.close()

    try:
        asyncio.run(connect())
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        wrong = f"DATABASE_URL: no Postgres at {_place(url)} ({reason})"
        msg = f"{wrong}: start it, or unset DATABASE_URL for the embedded one"
        raise DevstackError(msg) from error


def require_redis(url: str) -> None:
    """Raises: DevstackError when no Redis answers at REDIS_URL. Behind Sentinels the services wait for one."""
    if "+sentinel" in urlsplit(url).scheme:
        return
    try:
        client = Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        try:
            client.ping()
        finally:
            client.close()
    except (OSError, ValueError, RedisError) as error:
        msg = f"REDIS_URL: no Redis at {_place(url)} ({error}): start it, or unset REDIS_URL for the embedded one"
        raise DevstackError(msg) from error


def _place(url: str) -> str:
    """Host and port without the credentials."""
    parts = urlsplit(url)
    return f"{parts.hostname or '?'}:{parts.port or 'default port'}"
