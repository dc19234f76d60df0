"""The load client of the HTTP benchmark: a process of its own that replays signed requests over many connections.

It signs nothing and parses next to nothing while the clock runs, so that it costs a fraction of what it measures.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

from sharedjox_contracts.codec import encode_json
from sharedjox_contracts.signatures import signed_query

from .machine import give_priority

DISTINCT_REQUESTS = 500
EXPECTED = b"HTTP/1.1 200"
RECEIVE_BYTES = 65_536


def signed_requests(
    *, app_id: str, key: str, secret: str, channels: int, payload_bytes: int, keeps_alive: bool
) -> list[bytes]:
    """Complete requests, each signed with the present time; good for ten minutes."""
    path = f"/apps/{app_id}/events"
    persistence = "" if keeps_alive else "Connection: close\r\n"
    requests = []
    for number in range(DISTINCT_REQUESTS):
        data = json.dumps({"number": number, "text": "x" * payload_bytes})
        body = encode_json({"name": "job.posted", "channels": [f"bench-{number % channels}"], "data": data})
        query = signed_query(
            key=key, secret=secret, method="POST", path=path, body=body, timestamp=int(time.time()), parameters={}
        )
        line = "&".join(f"{name}={value}" for name, value in query.items())
        head = (
            f"POST {path}?{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"X-Pusher-Library: bench 1.0\r\nContent-Length: {len(body)}\r\n{persistence}\r\n"
        )
        requests.append(head.encode() + body)
    return requests


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one client process saw. Latencies are of single requests, closed loop."""

    requests: int
    seconds: float
    refused: int
    cpu_seconds: float
    latencies_ms: list[float]


class _Load:
    """A closed loop on each of some connections; a server that closes after an answer is connected to again."""

    def __init__(self, port: int, requests: Sequence[bytes], *, keeps_alive: bool) -> None:
        self._keeps_alive = keeps_alive
        self.latencies: list[float] = []
        self.refused = 0
        self._address = ("127.0.0.1", port)
        self._requests = cycle(requests)
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._sent_at: dict[int, float] = {}
        """When the request under way was sent; nothing while none is."""

    def _open(self) -> None:
        sent_at = time.perf_counter()
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = connection.fileno()
        self._sockets[number] = connection
        self._poll.register(number, select.EPOLLIN)
        self._sent_at[number] = sent_at
        connection.send(next(self._requests))

    def _close(self, number: int) -> None:
        self._poll.unregister(number)
        self._sockets.pop(number).close()

    def run(self, connections: int, seconds: float) -> float:
        """Returns how long it took, the last answers included."""
        start = time.perf_counter()
        end = start + seconds
        for _ in range(connections):
            self._open()
        while self._sockets:
            for number, _events in self._poll.poll(5):
                self._answered(number, end)
        return time.perf_counter() - start

    def _answered(self, number: int, end: float) -> None:
        connection = self._sockets[number]
        answer = connection.recv(RECEIVE_BYTES)
        now = time.perf_counter()
        if not answer:
            if self._sent_at.pop(number, None) is not None:
                self.refused += 1
            self._close(number)
            if now < end:
                self._open()
            return
        self.latencies.append(now - self._sent_at.pop(number))
        if not answer.startswith(EXPECTED):
            self.refused += 1
        if now >= end:
            self._close(number)
        elif self._keeps_alive:
            self._sent_at[number] = now
            connection.send(next(self._requests))


def run_load(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, keeps_alive: bool
) -> LoadResult:
    """Keep `connections` requests in flight, one on each connection, for so long."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    load = _Load(port, requests, keeps_alive=keeps_alive)
    elapsed = load.run(connections, seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    milliseconds = [round(each * 1000, 4) for each in load.latencies]
    return LoadResult(len(load.latencies), elapsed, load.refused, spent, milliseconds)


def main() -> None:
    """`python -m tests.benchmarks.http_load SETTINGS.json`; the result goes to stdout as JSON."""
    settings = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    if settings["core"] is not None:
        os.sched_setaffinity(0, {settings["core"]})
    give_priority(os.getpid())
    keeps_alive = settings["keepsAlive"]
    requests = signed_requests(
        **settings["app"],
        channels=settings["channels"],
        payload_bytes=settings["payload"],
        keeps_alive=keeps_alive,
    )
    result = run_load(
        settings["port"],
        requests,
        connections=settings["connections"],
        seconds=settings["seconds"],
        keeps_alive=keeps_alive,
    )
    sys.stdout.write(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
