"""Accepting TCP connections by transports of our own, where the optional code in C was built (`native/sockets.c`).

They do for the protocols above them what uvloop's do, in a tenth of the memory. A connect takes less, too: a request is
read where its connection is accepted, what one turn of the loop writes leaves at the turn's end, and nobody asks the
kernel for addresses that are not needed (docs/performance.md, docs/adr/0036-transports-of-our-own.md). Under TLS, on
other systems than Linux, without a compiler and with GATEWAY_NATIVE=false the transports are uvloop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from sharedjox_kit.logs import get_logger

_log = get_logger(__name__)
PAUSE_SECONDS: Final = 0.1
"""Without descriptors or memory for another connection, until the next attempt. Meanwhile they wait in the backlog."""

Accepted = Callable[[asyncio.Transport, bytes | None], None]
"""Gets a new connection and what it has sent already. Sets its protocol and calls `connection_made`."""


class _Sockets(Protocol):
    """See `native/sockets.c`."""

    def turn(self) -> None: ...
    def settle(self) -> None: ...
    def listen(self, fd: int) -> None: ...
    def ignore(self, fd: int) -> None: ...
    def fileno(self) -> int: ...


class _NativeModule(Protocol):
    Sockets: Callable[..., _Sockets]


def _native() -> _NativeModule | None:
    try:
        from . import _sockets  # type: ignore[attr-defined]  # built where a compiler is
    except ImportError:
        return None
    return cast("_NativeModule", _sockets)


def own_transports_work(*, use_native: bool = True) -> bool:
    """Whether `Acceptor` can be used here."""
    return use_native and _native() is not None


class Acceptor:
    """Accepts on one listening socket, from `listen` to `stop_listening`, and serves what it accepted until `close`.

    Raises: RuntimeError where `own_transports_work` says no.
    """

    def __init__(self, accepted: Accepted) -> None:
        native = _native()
        if native is None:
            msg = "the code in C was not built"
            raise RuntimeError(msg)
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._sockets = native.Sockets(accepted, self._out_of, self._failed, _describe, self._loop.call_soon)
        self._loop.add_reader(self._sockets.fileno(), self._sockets.turn)

    def listen(self, listener: socket.socket) -> None:
        """Begin to accept. The listener is the acceptor's from now on."""
        # Accepted sockets inherit it, which saves a system call for each.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener = listener
        self._sockets.listen(listener.fileno())

    def stop_listening(self) -> None:
        """Accept no more; the connections stay."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._sockets.ignore(listener.fileno())
            listener.close()

    def close(self) -> None:
        """Serve no more. What was not closed before is left as it is."""
        self.stop_listening()
        self._sockets.settle()
        self._loop.remove_reader(self._sockets.fileno())

    def _out_of(self, error: OSError) -> None:
        """No descriptor or no memory for one more connection: those who wait stay where they are for a moment."""
        if self._listener is not None:
            _log.warning("connection.not_accepted", reason=error.strerror)
            self._sockets.ignore(self._listener.fileno())
            self._loop.call_later(PAUSE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        if self._listener is not None:
            self._sockets.listen(self._listener.fileno())

    def _failed(self, transport: asyncio.Transport, error: Exception) -> None:
        """A protocol raised; its connection is being dropped."""
        context = {"message": "Fatal error: protocol failed", "exception": error, "transport": transport}
        self._loop.call_exception_handler(context)


def _describe(fd: int, name: str) -> Any:
    """`get_extra_info` of a connection. There is no socket object: see `sending.ask_descriptor`."""
    if name not in ("peername", "sockname"):
        return None
    with contextlib.suppress(OSError):
        found = socket.socket(fileno=fd)
        try:
            return found.getpeername() if name == "peername" else found.getsockname()
        finally:
            found.detach()
    return None
