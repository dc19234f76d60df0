"""This process's sessions, and who owns the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sharedjox_contracts.redis_layout import KEY_PREFIX

from sharedjox_gateway.broker.resp import RespConnection

from .session import XhrSession

OWNER_SECONDS: Final = 60
_REFRESH_SECONDS: Final = 20.0


def owner_key(name: str) -> str:
    """Where the address of a session's owner stands (string, with a time to live)."""
    return f"{KEY_PREFIX}:xhr:{name}"


class XhrSessions:
    """Sessions by name (`app key/server/session`, chosen by the client). `address` is where other processes find us."""

    def __init__(self, commander: Callable[[], RespConnection | None]) -> None:
        self._commander = commander
        self._local: dict[str, XhrSession] = {}
        self._refresh_at = 0.0
        self.address = ""

    def __len__(self) -> int:
        return len(self._local)

    def local(self, name: str) -> XhrSession | None:
        """A session of this process."""
        return self._local.get(name)

    async def owner(self, name: str) -> str | None:
        """The address of another process that owns the session; None when nobody is known to."""
        commander = self._commander()
        if commander is None:
            return None
        try:
            address = await commander.call("GET", owner_key(name))
        except ConnectionError:
            return None
        found = address.decode() if isinstance(address, bytes) else ""
        return found if found and found != self.address else None

    def add(self, name: str, peer: tuple[str, int]) -> XhrSession:
        """Make a session and let it be known."""
        session = self._local[name] = XhrSession(name, self._ended, peer)
        self._announce(name)
        return session

    def _announce(self, name: str) -> None:
        commander = self._commander()
        if commander is not None and self.address:
            commander.send(None, "SET", owner_key(name), self.address, "EX", OWNER_SECONDS)

    def _ended(self, session: XhrSession) -> None:
        self._local.pop(session.name, None)
        commander = self._commander()
        if commander is not None:
            commander.send(None, "DEL", owner_key(session.name))

    def tick(self) -> None:
        """Drop sessions whose client went away; renew what is known of the others."""
        now = asyncio.get_running_loop().time()
        for session in list(self._local.values()):
            session.expire(now)
        if now >= self._refresh_at:
            self._refresh_at = now + _REFRESH_SECONDS
            for name in self._local:
                self._announce(name)
