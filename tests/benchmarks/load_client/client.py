"""Steering the load client: commands in, results out, the server's CPU measured over the same window."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.benchmarks.machine import CLIENT_CORE, CpuMeter, children

from .compiler import build_load_client
from .results import HISTOGRAMS, Result, summarized

CONNECTIONS_PER_WORKER = 19_000
"""What one process may hold here: the hard limit of file descriptors is 20,000."""


class LoadFailedError(Exception):
    """The load client gave up; its reason is on standard error."""


class LoadClient:
    """One run of the load client. Use as a context manager."""

    def __init__(self, options: Sequence[str], server_pids: Sequence[int], *, connections: int) -> None:
        self._workers = max(1, -(-connections // CONNECTIONS_PER_WORKER))
        self._command = [str(build_load_client()), "--cpu", str(CLIENT_CORE), "--workers", str(self._workers), *options]
        self._server_pids = list(server_pids)
        self._connections = connections
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._process:  # closes the pipes, which ends the client, and waits
            try:
                self._process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def all_pids(self) -> list[int]:
        """The server's processes, the load client's and its workers'."""
        client = self._process.pid
        return [*self._server_pids, client, *children(client)]

    def _say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def _hear(self) -> Result:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            msg = f"the load client ended with status {self._process.wait()}"
            raise LoadFailedError(msg)
        heard: Result = json.loads(line)
        return heard

    def connect(self, connections: int | None = None) -> Result:
        """Open and subscribe all connections; the result has the rate and the server's CPU time for each."""
        meter = CpuMeter(self._server_pids)
        self._say(f"connect {self._connections if connections is None else connections}")
        result = self._hear()
        usage = meter.read()
        result["server_cpu_us_per_connection"] = usage.own_seconds / max(result["connections"], 1) * 1e6
        result["foreign_cores"] = usage.foreign_cores
        return result

    def disconnect(self) -> None:
        """Close all connections."""
        self._simple("disconnect")

    def stall(self, connections: int) -> None:
        """Let the first `connections` stop reading; they are no longer checked."""
        self._simple(f"stall {connections}")

    def _simple(self, command: str) -> None:
        self._say(command)
        self._hear()

    def flood(self, window: int, seconds: float, *, probe_ms: int = 0) -> Result:
        """Publish so that `window` messages are always in flight."""
        return self._run(f"flood {window} {seconds} {probe_ms}")

    def rate(self, per_second: float, seconds: float, *, probe_ms: int = 0) -> Result:
        """Publish at fixed times, whatever the server does."""
        return self._run(f"rate {per_second} {seconds} {probe_ms}")

    def idle(self, seconds: float, *, probe_ms: int) -> Result:
        """Publish nothing: what the probe waits on this machine without our doing."""
        return self._run(f"idle {seconds} {probe_ms}")

    def churn(self, seconds: float) -> Result:
        """Leave and join again, one connection after the other."""
        return self._run(f"churn {seconds}")

    def _run(self, command: str) -> Result:
        self._say(command)
        result = self._hear()
        meter = CpuMeter(self._server_pids)
        while result["event"] != "window-over":
            result = self._hear()
        usage = meter.read()
        while result["event"] != "ran":
            result = self._hear()
        for name in HISTOGRAMS:
            result[name] = summarized(result[name])
        result["server_cores"] = usage.own_seconds / usage.wall_seconds
        result["server_user_cores"] = usage.user_seconds / usage.wall_seconds
        result["foreign_cores"] = usage.foreign_cores
        return result
