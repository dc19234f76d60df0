"""TCP proxies on a thread of their own, so that blocking tests and harnesses can put them before anything."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from .polling import scaled
from .tcp_proxy import TcpProxy

_T = TypeVar("_T")


class Links:
    """The connections between the parts of a platform, by name, each through a proxy that can misbehave."""

    def __init__(self) -> None:
        self.proxies: dict[str, TcpProxy] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()

    def add(self, name: str, target_port: int) -> int:
        """Put a proxy before 127.0.0.1:`target_port`; returns the port to use instead."""
        proxy = TcpProxy(target_port)
        self._run(proxy.start())
        self.proxies[name] = proxy
        return proxy.port

    def cut(self, name: str) -> None:
        """Reset all connections of this link."""
        self._run(self.proxies[name].cut())

    def swallow(self, name: str) -> None:
        """From now on everything on this link disappears on the way, while both ends believe to be connected."""
        self.proxies[name].half_open = True

    def slow(self, name: str, seconds: float) -> None:
        """Hold back every chunk for so long, in both directions. 0 heals."""
        self.proxies[name].delay_seconds = seconds

    def heal(self, name: str) -> None:
        """All as it should be; connections that lost bytes are reset, as a peer's kernel would at the next segment."""
        proxy = self.proxies[name]
        proxy.delay_seconds = 0
        if proxy.half_open:
            self.cut(name)
            proxy.half_open = False
            self.cut(name)  # whoever connected in between has been swallowed from too

    def close(self) -> None:
        """Stop all proxies and the thread."""
        for proxy in self.proxies.values():
            self._run(proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(scaled(5))
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(scaled(10))


@contextlib.contextmanager
def running_links() -> Iterator[Links]:
    """Links that are closed on leaving."""
    links = Links()
    try:
        yield links
    finally:
        links.close()
