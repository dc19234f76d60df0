"""All connections of the HTTP API in this process: what they share, their time limits, their end."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from .api import HttpApi
from .exchange import EMPTY, render
from .usual import UsualRequests

if TYPE_CHECKING:
    from .connection import ApiConnection


class Abortable(Protocol):
    """A connection that can be dropped."""

    def abort(self) -> None:
        """Drop it now."""
        ...


class ApiConnections:
    """See the module's docstring. `tick` is called a few times a second."""

    def __init__(
        self, api: HttpApi, *, request_timeout_seconds: float, keep_alive_seconds: float, now: Callable[[], float]
    ) -> None:
        self.api = api
        self.open: set[ApiConnection] = set()
        self.slow: dict[Abortable, float] = {}
        """Connections of others (uvicorn has no such limit) on which a request began to arrive, and when."""
        self.is_draining = False
        self.max_body_bytes = 0
        self.now = 0.0
        """The time of the last tick: exact enough for time limits, and free."""
        self.date = b""
        self.empty_answer = b""
        """`EMPTY` for a connection that goes on, ready to be sent."""
        self.usual = UsualRequests()
        self._clock = now
        self._request_timeout = request_timeout_seconds
        self._keep_alive = keep_alive_seconds
        self._refresh()

    def _refresh(self) -> None:
        self.now = self._clock()
        self.date = f"date: {formatdate(usegmt=True)}\r\n".encode()
        self.empty_answer = render(EMPTY, date=self.date)
        self.max_body_bytes = self.api.max_body_bytes()

    def tick(self) -> None:
        """End connections that are idle, or too slow with a request."""
        self._refresh()
        for connection in list(self.open):
            connection.check_time(self.now, self._request_timeout, self._keep_alive)
        for other, since in list(self.slow.items()):
            if self.now - since > self._request_timeout:
                del self.slow[other]
                other.abort()

    def drain(self) -> None:
        """Answer what is under way, close the rest; from now on every answer is its connection's last."""
        self.is_draining = True
        for connection in list(self.open):
            connection.close_if_idle()

    def abort(self) -> None:
        """Drop whatever is left."""
        for connection in list(self.open):
            connection.abort()
