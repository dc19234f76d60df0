"""Lua scripts by their hash, over a pipelined connection."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from sharedjox_kit.logs import get_logger

from .redis import RedisBroker
from .resp import Reply, RespConnection

_log = get_logger(__name__)
Argument = bytes | str | int
DISTRUST_SECONDS: Final = 5.0


class Script:
    """One script. It is loaded on every new connection before anything else runs there."""

    def __init__(self, broker: RedisBroker, text: str) -> None:
        self._broker = broker
        self._text = text
        self._sha: Final = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        broker.on_connected.append(self._load)

    def _load(self) -> None:
        if (commander := self._broker.commander) is not None:
            commander.send(None, "SCRIPT", "LOAD", self._text)

    def run(
        self, keys: Sequence[str], arguments: Sequence[Argument], done: Callable[[Reply | None], None] | None = None
    ) -> bool:
        """Queue one call; False when Redis is away. `done` gets the reply, or None when there will be none.

        A call that Redis refuses (script flushed, out of memory, read-only replica) drops the connection: everything
        that depends on it is registered anew after the reconnect, rather than being half done here. Where that does not
        help, it is tried again every few seconds.
        """
        commander = self._broker.commander
        if commander is None:
            return False

        def answered(reply: Reply) -> None:
            if isinstance(reply, Exception):
                if not isinstance(reply, ConnectionError):
                    self._distrust(commander, reply)
                reply = None
            if done is not None:
                done(reply)

        commander.send(answered, "EVALSHA", self._sha, len(keys), *keys, *arguments)
        return True

    def _distrust(self, commander: RespConnection, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._broker.distrusted_until:
            self._broker.distrusted_until = now + DISTRUST_SECONDS
            _log.warning("broker.script_failed", error=str(error))
            commander.abort()
