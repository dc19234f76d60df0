"""TCP ports: free or taken, and by whom."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import socket
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
"""State of a listening socket in /proc/net/tcp."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on, reserved until this process ends and never handed out twice.

    The reservation is a socket that is bound and never listens: the kernel then gives the port to nobody's outgoing
    connection. Whoever is to listen there must set SO_REUSEADDR, as servers do; to that it gives way.
    """
    reservation = socket.socket()
    reservation.bind((host, 0))
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port: int = reservation.getsockname()[1]
    reservation.detach()  # the descriptor stays open until the process ends
    return port


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


class PortClaims:
    """Ports that this process means to use, known to others of its kind before anybody listens there.

    Between looking for free ports and listening on them a stack makes its database; another that starts meanwhile must
    not find the same ones. A claim is an address in the abstract namespace of Unix sockets (unix(7)): only one process
    has it, it is known in the same network namespace as the port, and it goes with the process. Where there is no such
    namespace every claim is granted.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def claim(self, port: int) -> bool:
        """Claim a port; returns whether nobody else has. One that is claimed here already stays so."""
        if port in self._held:
            return True
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0sharedjox-port-{port}")
        except OSError as error:
            claim.close()
            return error.errno != errno.EADDRINUSE
        self._held[port] = claim
        return True

    def release(self) -> None:
        """Give all of them back."""
        for claim in self._held.values():
            claim.close()
        self._held.clear()


def accepts_connections(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody answers there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def http_status(port: int, path: str, host: str = "127.0.0.1", *, timeout_seconds: float = 1.0) -> int | None:
    """The status of `GET path`, None when nobody answers. Ignores proxies of the environment."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def owner(port: int) -> str | None:
    """Who listens on the port, as "name (pid 123)"; None when the kernel does not tell us."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process, inodes):
            return f"{_name_of(process)} (pid {process.name})"
    return None


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{fields[9]}]")
    return found


def _holds(process: Path, inodes: set[str]) -> bool:
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) in inodes:
                return True
    return False


def _name_of(process: Path) -> str:
    try:
        program, *arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        return " ".join([Path(program).name, *arguments])[:60].strip() or "another process"
    except OSError:
        return "another process"
