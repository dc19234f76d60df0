"""The real PgBouncer with the configuration of deploy/pgbouncer, before a Postgres of the tests."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sharedjox_devstack.ports import accepts_connections, free_port
from sharedjox_devstack.postgres import SUPERUSER

from .debian import find_program
from .polling import eventually_sync
from .processes import REPOSITORY, ServiceProcess

CONFIGURATION: Final = REPOSITORY / "deploy" / "pgbouncer" / "pgbouncer.ini"
LIBRARIES: Final = ("libc-ares2", "libevent-2.1-7")
KEEPS_STATEMENTS_APART: Final = (1, 21)
"""The first version that has `max_prepared_statements`."""


@dataclass(frozen=True, slots=True)
class PgBouncer:
    """A running PgBouncer."""

    service: ServiceProcess
    port: int

    def url(self, direct: str) -> str:
        """The address through it of a database whose own address is `direct`."""
        return re.sub(r"(127\.0\.0\.1):\d+/", rf"\1:{self.port}/", direct)

    def start(self) -> None:
        """Start (again) and wait until it listens."""
        self.service.start(wait=False)
        eventually_sync(lambda: accepts_connections(self.port), 30, what=f"pgbouncer listens; {self.service.log_text}")


@contextlib.contextmanager
def running_pgbouncer(
    folder: Path, postgres_port: int, changes: Mapping[str, str | None] | None = None
) -> Iterator[PgBouncer]:
    """Before the Postgres on this port, stopped on leaving.

    `changes` are settings of the section [pgbouncer] that shall be other than in the file; None leaves one out.
    `connect_query` is the one of the section [databases].
    """
    program = find_program("pgbouncer", "pgbouncer", *LIBRARIES)
    port = free_port()
    users = folder / f"users-{port}.txt"
    users.write_text(f'"{SUPERUSER}" ""\n')
    own = {"listen_addr": "127.0.0.1", "listen_port": str(port), "auth_type": "trust", "auth_file": str(users)}
    # It refuses to run as root, and becomes somebody else after it has read its files.
    own |= {"user": "nobody"} if os.geteuid() == 0 else {}
    wanted: dict[str, str | None] = {**own, **(changes or {})}
    if not keeps_statements_apart():  # it does not know the setting either
        wanted["max_prepared_statements"] = None
    file = folder / f"pgbouncer-{port}.ini"
    file.write_text(_configuration(postgres_port, wanted))
    service = ServiceProcess(
        "pgbouncer",
        [program.command, str(file)],
        log_file=folder / f"pgbouncer-{port}.log",
        env=program.env,
        stop_signal=signal.SIGINT,
    )
    pooler = PgBouncer(service, port)
    pooler.start()
    try:
        yield pooler
    finally:
        service.stop()


def keeps_statements_apart() -> bool:
    """Whether clients of the PgBouncer that is here may use prepared statements, as the file has it."""
    program = find_program("pgbouncer", "pgbouncer", *LIBRARIES)
    done = subprocess.run([program.command, "--version"], env=program.env, capture_output=True, text=True, check=True)
    found = re.search(r"PgBouncer (\d+)\.(\d+)", done.stdout)
    assert found is not None, done.stdout
    return (int(found[1]), int(found[2])) >= KEEPS_STATEMENTS_APART


def _configuration(postgres_port: int, changes: Mapping[str, str | None]) -> str:
    text = CONFIGURATION.read_text()
    assert "host=postgres port=5432" in text
    text = text.replace("host=postgres port=5432", f"host=127.0.0.1 port={postgres_port}")
    for name, value in changes.items():
        if name == "connect_query":
            text, count = re.subn(r" connect_query='[^']*'", "" if value is None else f" connect_query='{value}'", text)
            assert count == 1
            continue
        text = re.sub(rf"^{name} =.*\n", "", text, flags=re.MULTILINE)
        text += "" if value is None else f"{name} = {value}\n"
    return text
