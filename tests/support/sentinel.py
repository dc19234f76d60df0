"""Two Redis servers, the one a replica of the other, and three Sentinels that fail over between them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from sharedjox_devstack.ports import free_port
from sharedjox_devstack.process import ManagedProcess, tethered
from sharedjox_devstack.redis import EmbeddedRedis, binary

from .polling import eventually_sync

MASTER_NAME = "events"
SENTINELS = 3
QUORUM = 2
_SETTINGS = """
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {name} 127.0.0.1 {master} {quorum}
sentinel down-after-milliseconds {name} 1000
sentinel failover-timeout {name} 3000
"""


class SentinelGroup:
    """The servers of one master name. `url` is what REDIS_URL is to be."""

    def __init__(self, folder: Path) -> None:
        self.servers = [EmbeddedRedis(folder / f"node-{number}", free_port(), durable=True) for number in range(2)]
        self._folder = folder
        self._ports = [free_port() for _ in range(SENTINELS)]
        self._sentinels = [self._sentinel(port) for port in self._ports]

    def _sentinel(self, port: int) -> ManagedProcess:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir(parents=True)
        settings = folder / "sentinel.conf"  # Sentinel writes what it learns into it
        settings.write_text(
            _SETTINGS.format(port=port, folder=folder, name=MASTER_NAME, master=self.servers[0].port, quorum=QUORUM)
        )
        command = tethered([str(binary()), str(settings), "--sentinel"], death_signal=signal.SIGTERM)
        return ManagedProcess(f"sentinel-{port}", command, output=folder / "log", cwd=folder)

    @property
    def url(self) -> str:
        """The Sentinels' addresses, after one at which nobody answers, and the master's name."""
        places = ",".join(f"127.0.0.1:{port}" for port in (free_port(), *self._ports))
        return f"redis+sentinel://{places}/{MASTER_NAME}/0"

    @property
    def master(self) -> EmbeddedRedis:
        """The server that the Sentinels name. Raises: KeyError while they name none of ours."""
        return {server.port: server for server in self.servers}[self._master_port(self._ports[0])]

    def _master_port(self, sentinel: int) -> int:
        lines = ask(sentinel, f"SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER_NAME}").split("\r\n")
        return int(lines[4]) if len(lines) > 4 else 0

    def start(self) -> None:
        """Start all; on return the replica has what the master has and every Sentinel knows of the others."""
        for server in self.servers:
            server.start()
        self.servers[1].run_command(f"REPLICAOF 127.0.0.1 {self.servers[0].port}")
        for sentinel in self._sentinels:
            sentinel.start()
        eventually_sync(self.is_able_to_fail_over, 30, what="the Sentinels know the replica and each other")

    def is_able_to_fail_over(self) -> bool:
        """Whether the replica follows the master and all Sentinels agree and see it up."""
        (named, *others) = {self._master_port(port) for port in self._ports}
        if others or named not in {server.port for server in self.servers}:
            return False
        (replica,) = [server for server in self.servers if server.port != named]
        answers = [ask(port, f"SENTINEL CKQUORUM {MASTER_NAME}") for port in self._ports]
        replicas = [ask(port, f"SENTINEL REPLICAS {MASTER_NAME}") for port in self._ports]
        return (
            "master_link_status:up" in ask(replica.port, "INFO replication")
            and all(f"+OK {SENTINELS} usable" in answer for answer in answers)
            and all("flags\r\n$5\r\nslave\r\n" in text for text in replicas)
        )

    def fail_over(self) -> None:
        """Have the Sentinels exchange the roles; returns when they begin to."""
        answer = ask(self._ports[0], f"SENTINEL FAILOVER {MASTER_NAME}")
        assert answer.startswith("+OK"), answer

    def stop(self) -> None:
        """End all of them."""
        for sentinel in self._sentinels:
            sentinel.stop()
        for server in self.servers:
            server.stop()


def ask(port: int, command: str) -> str:
    """One inline command to whoever listens there; the raw answer, empty when nobody does."""
    return EmbeddedRedis(Path(), port, durable=False).run_command(command)


@contextlib.contextmanager
def running_sentinels(folder: Path) -> Iterator[SentinelGroup]:
    """A group that is up, stopped on leaving."""
    group = SentinelGroup(folder)
    try:
        group.start()
        yield group
    finally:
        group.stop()
