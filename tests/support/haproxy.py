"""The balancer of deploy/balancer as a process: the same file as in compose, with TLS, on ports of this test's own."""

from __future__ import annotations

import contextlib
import re
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sharedjox_devstack.ports import free_port

from .debian import find_program
from .processes import REPOSITORY, ServiceProcess, running

CONFIGURATION: Final = REPOSITORY / "deploy" / "balancer" / "haproxy.cfg"
SELF_SIGNED: Final = REPOSITORY / "deploy" / "balancer" / "self_signed.py"
LIBRARIES: Final = ("liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libpcre2-8-0")


@dataclass(frozen=True, slots=True)
class Balancer:
    """A running balancer."""

    service: ServiceProcess
    https_port: int
    http_port: int
    stats_port: int
    certificate: Path
    trust: ssl.SSLContext

    @property
    def https_url(self) -> str:
        """Where everything is, without a slash at the end."""
        return f"https://127.0.0.1:{self.https_port}"

    @property
    def websocket_url(self) -> str:
        """Where a Pusher client connects."""
        return f"wss://127.0.0.1:{self.https_port}/app/sharedjox?protocol=7&client=test&version=1.0"

    def served_by(self, backend: str, request: str) -> list[str]:
        """Which servers of `backend` got the requests whose log line contains `request`, in order."""
        lines = [line for line in self.service.log_text.splitlines() if request in line]
        return [found[1] for line in lines if (found := re.search(rf" {backend}/(\S+) ", line))]


def make_certificate(folder: Path, python: Sequence[str]) -> Path:
    """A certificate for this machine, made by the script that compose runs."""
    path = folder / "balancer.pem"
    subprocess.run([*python, str(SELF_SIGNED), str(path), "localhost", "127.0.0.1"], check=True)
    return path


@contextlib.contextmanager
def running_balancer(
    folder: Path, certificate: Path, *, api: str, gateways: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[Balancer]:
    """The balancer before these `host:port` addresses, stopped on leaving."""
    haproxy = find_program("haproxy", "haproxy", *LIBRARIES)
    https, http, stats = free_port(), free_port(), free_port()
    settings = {
        "BALANCER_HTTPS": f"127.0.0.1:{https}",
        "BALANCER_HTTP": f"127.0.0.1:{http}",
        "BALANCER_STATS": f"127.0.0.1:{stats}",
        "BALANCER_CERTIFICATE": str(certificate),
        "API": api,
        "GATEWAY_1": gateways[0],
        "GATEWAY_2": gateways[1],
    }
    service = ServiceProcess(
        "balancer",
        [haproxy.command, "-W", "-db", "-f", str(CONFIGURATION)],
        log_file=folder / "balancer.log",
        env=settings | haproxy.env | dict(env or {}),
        ready_port=stats,
        ready_path="/healthz",
    )
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
    with running(service):
        yield Balancer(service, https, http, stats, certificate, trust)
