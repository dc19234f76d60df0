"""Whose connection it is: the caller's address behind a trusted balancer, a limit per address, and the log lines."""

from __future__ import annotations

import asyncio
import logging
import sys

from sharedjox_kit.logs import get_logger

from .connection.connection import Connection
from .protocol.client_address import TrustedProxies
from .protocol.close_codes import PusherError
from .protocol.handshake import UpgradeRequest

_log = get_logger(__name__)


class Callers:
    """Counts connections by address. `limit` 0: no limit."""

    def __init__(self, proxies: TrustedProxies, *, limit: int) -> None:
        self._proxies = proxies
        self._limit = limit
        self._held: dict[str, int] = {}
        self._is_verbose = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)

    def address_of(self, request: UpgradeRequest, transport: asyncio.Transport) -> str:
        """Where the request comes from, where connections are counted or logged by it; empty otherwise.

        Empty too for a peer without an address (a Unix socket).
        """
        return self._address_of(request, transport) if self._limit or self._is_verbose else ""

    def _address_of(self, request: UpgradeRequest, transport: asyncio.Transport) -> str:
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple):
            return ""
        # Interned: thousands of connections behind one address share one string.
        return sys.intern(self._proxies.client_address(peer[0], request.forwarded_for))

    def is_full(self, address: str) -> bool:
        """Whether this address holds as many connections as one may."""
        return bool(self._limit) and self._held.get(address, 0) >= self._limit

    def refused(self, request: UpgradeRequest, transport: asyncio.Transport, error: PusherError) -> None:
        """Log a refusal that is the caller's fault; a full or draining node would fill the disk with the others."""
        if error.code >= PusherError.OVER_CAPACITY.code:
            return
        address = self._address_of(request, transport)
        _log.info("connection.refused", address=address, origin=request.origin, code=error.code, reason=error.text)

    def opened(self, connection: Connection) -> None:
        """Count and log. Debug level: at ten thousand connects a second a line each would cost more than connecting."""
        if self._limit:
            self._held[connection.address] = self._held.get(connection.address, 0) + 1
        if self._is_verbose:
            _log.debug(
                "connection.opened", address=connection.address, socket_id=connection.socket_id, app=connection.app.id
            )

    def ended(self, connection: Connection, code: int, *, seconds: float) -> None:
        """Count and log."""
        if self._limit:
            left = self._held.get(connection.address, 0) - 1
            if left > 0:
                self._held[connection.address] = left
            else:
                self._held.pop(connection.address, None)
        if self._is_verbose:
            _log.debug(
                "connection.closed",
                address=connection.address,
                socket_id=connection.socket_id,
                code=code,
                seconds=round(seconds, 3),
            )
