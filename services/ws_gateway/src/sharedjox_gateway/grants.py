"""Whether Redis still has the grants by which connections here can be found when a right is taken back.

The api writes a grant before it signs a channel (docs/adr/0003). A Redis that lost its newest writes, or all of them,
has forgotten some, and a later revocation would pass those connections by. Redis loses the end of what was written,
never the middle; so this process writes a mark behind the grants of those who joined, and counts its marks. After a
restart the count that is left tells whose grants are left. The others are sent away to be authorized anew. Apps whose
back ends write no grants are left alone.
Source: docs/adr/0031-what-redis-forgot.md
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sharedjox_contracts.redis_layout import granting_key, watermark_key
from sharedjox_kit.logs import get_logger

from .broker.redis import RedisBroker
from .broker.resp import Reply
from .connection.connection import Connection

_log = get_logger(__name__)
MARK_SECONDS: Final = 2 * 86400
"""Longer than any connection lives."""


class GrantWatch:
    """Call `tick` often. `send_away` gets the connections that must be authorized anew."""

    def __init__(
        self,
        broker: RedisBroker,
        connections: Mapping[str, Connection],
        send_away: Callable[[list[Connection]], None],
        now: Callable[[], float],
    ) -> None:
        self._broker = broker
        self._connections = connections
        self._send_away = send_away
        self._now = now
        self._node = secrets.token_hex(6)
        self._written: dict[str, int] = {}
        self._confirmed: dict[str, int] = {}
        self._granting: set[str] = set()
        """Apps whose back ends write grants."""
        self._unjudged: set[str] = set()
        """Apps of which it is not known yet what Redis has kept; their marks must not be written over."""
        self._distrusted: dict[str, float] = {}
        """App id: who connected before this moment may hold signatures that nobody could take back any more."""
        broker.on_connected.append(self._connected)

    def admit(self, connection: Connection) -> bool:
        """Whether a connection may join by a signature. It counts as a holder of rights from now on."""
        if self._distrusted and connection.opened_at < self._distrusted.get(connection.app.id, float("-inf")):
            return False
        self.mark(connection)
        return True

    def mark(self, connection: Connection) -> None:
        """What concerns this connection stands in Redis, before the next mark."""
        connection.grant_mark = self._written.setdefault(connection.app.id, 0) + 1

    def tick(self) -> None:
        """Write a mark for each app that has holders of rights."""
        commander = self._broker.commander
        if commander is None or not self._broker.is_connected:
            return  # not while it is being found out whether this Redis forgot: the mark that it kept is read first
        for app_id in self._written.keys() - self._unjudged:
            number = self._written[app_id] = self._written[app_id] + 1
            key = watermark_key(app_id, self._node)
            commander.send(self._confirm(app_id, number), "SET", key, number, "EX", MARK_SECONDS)
            if app_id not in self._granting:
                commander.send(self._learn(app_id), "EXISTS", granting_key(app_id))

    def _learn(self, app_id: str) -> Callable[[Reply], None]:
        def learnt(reply: Reply) -> None:
            if reply == 1:
                self._granting.add(app_id)

        return learnt

    def _confirm(self, app_id: str, number: int) -> Callable[[Reply], None]:
        def confirmed(reply: Reply) -> None:
            if not isinstance(reply, Exception):
                self._confirmed[app_id] = number

        return confirmed

    def _connected(self) -> None:
        if self._broker.has_restarted:
            self._unjudged.update(self._written)
        commander = self._broker.commander
        if commander is not None:
            for app_id in self._unjudged:
                commander.send(self._judge(app_id, self._now()), "GET", watermark_key(app_id, self._node))

    def _judge(self, app_id: str, came_back_at: float) -> Callable[[Reply], None]:
        def judge(reply: Reply) -> None:
            if isinstance(reply, Exception):
                return  # asked again on the next connection
            self._unjudged.discard(app_id)
            kept = int(reply or 0)
            if app_id in self._granting:
                if kept < self._confirmed.get(app_id, 0):
                    self._distrusted[app_id] = came_back_at
                self._doubt(app_id, kept)

        return judge

    def doubt(self, app_id: str, *, was_used: bool) -> None:
        """Commands were missed: rights may have been taken from anybody. `was_used`: there were some before."""
        if was_used or app_id in self._granting:
            self._distrusted[app_id] = self._now()
            self._doubt(app_id, 0)

    def _doubt(self, app_id: str, kept: int) -> None:
        doubtful = [one for one in self._of(app_id) if one.grant_mark > kept]
        if doubtful:
            _log.warning("grants.in_doubt", app=app_id, connections=len(doubtful), marks_left=kept)
            self._send_away(doubtful)

    def _of(self, app_id: str) -> Iterable[Connection]:
        return (one for one in self._connections.values() if one.app.id == app_id and not one.is_closing)
