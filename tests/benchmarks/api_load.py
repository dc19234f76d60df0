"""The load client of the api benchmark: a process of its own that sends prepared requests over keep-alive connections.

Each connection is a closed loop: the next request goes out when the answer before it is whole. Every request is sent
once. Reads `{"port", "connections", "requests": [base64…]}` from standard input, writes a `LoadResult` as JSON.
"""

from __future__ import annotations

import base64
import json
import re
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

RECEIVE_BYTES = 262_144
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(slots=True)
class LoadResult:
    """What the client saw; latencies in milliseconds, `statuses` by code."""

    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)


class _Connection:
    """One closed loop."""

    __slots__ = ("_buffer", "_sent_at", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._sent_at = 0.0

    def send(self, request: bytes) -> None:
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[str, float] | None:
        """Status and milliseconds once an answer is whole."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            msg = "the api closed a connection"
            raise ConnectionError(msg)
        self._buffer += data
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        length = _LENGTH.search(head)
        if len(rest) < (int(length[1]) if length else 0):
            return None
        self._buffer = b""
        return head[9:12].decode(), (time.perf_counter() - self._sent_at) * 1000


def run(port: int, connections: int, requests: Iterator[bytes]) -> LoadResult:
    """Send everything; returns when the last answer is there."""
    poll = select.epoll()
    opened: dict[int, _Connection] = {}
    result, statuses = LoadResult(), Counter[str]()
    began = time.perf_counter()
    for _, request in zip(range(connections), requests, strict=False):  # in this order none is taken in vain
        connection = _Connection(port)
        opened[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
        connection.send(request)
    while opened:
        for number, _event in poll.poll():
            answer = opened[number].receive()
            if answer is None:
                continue
            statuses[answer[0]] += 1
            result.latencies_ms.append(answer[1])
            following = next(requests, None)
            if following is not None:
                opened[number].send(following)
                continue
            poll.unregister(number)
            opened.pop(number).socket.close()
    result.seconds = time.perf_counter() - began
    result.statuses = dict(statuses)
    return result


def main() -> None:
    """Entry of the process."""
    order = json.load(sys.stdin)
    result = run(order["port"], order["connections"], map(base64.b64decode, order["requests"]))
    json.dump({"seconds": result.seconds, "statuses": result.statuses, "latencies_ms": result.latencies_ms}, sys.stdout)


if __name__ == "__main__":
    main()
