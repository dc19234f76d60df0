"""A Redis for programs that are no tests and so have no fixtures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[EmbeddedRedis]:
    """A Redis on a port of its own that keeps nothing; it ends with the context."""
    server = EmbeddedRedis(folder / "redis", free_port(), durable=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()
