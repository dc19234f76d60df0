"""Who is signed in here, kept in Redis for the whole cluster. Source of keys and scripts: `online_layout`.

Users are registered when their first connection here signs in and given up when the last one ends; the changes of one
loop turn leave together.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Final

from sharedjox_contracts.online_layout import (
    DROP_USERS_SCRIPT,
    ONLINE_SCRIPT,
    READ_ONLINE_SCRIPT,
    USERS_PER_CALL,
    node_users_key,
    online_key,
)
from sharedjox_contracts.redis_layout import control_topic

from sharedjox_gateway.broker.redis import RedisBroker
from sharedjox_gateway.broker.resp import Reply
from sharedjox_gateway.broker.script import Argument, Script
from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.leases import NodeLease

HOLDING: Final = "users"
ALL_USERS: Final = "all"

StatesRead = Callable[[dict[str, bool], int], None]
"""Gets whether each user is online, and the version of that knowledge."""


class OnlineUsers:
    """A `leases.Holder` of one holding per app."""

    def __init__(self, broker: RedisBroker, lease: NodeLease, app_ids: Callable[[], Collection[str]]) -> None:
        self._broker = broker
        self._lease = lease
        self._app_ids = app_ids
        self._write = Script(broker, ONLINE_SCRIPT)
        self._drop = Script(broker, DROP_USERS_SCRIPT)
        self._read = Script(broker, READ_ONLINE_SCRIPT)
        self._here: defaultdict[str, dict[str, set[Connection]]] = defaultdict(dict)
        self._changed: defaultdict[str, set[str]] = defaultdict(set)
        self._noted: set[tuple[str, str]] = set()
        self._is_scheduled = False
        self._loop = asyncio.get_running_loop()
        lease.register(HOLDING, self)
        broker.on_connected.append(self.restore)

    # --- here -------------------------------------------------------------------------------------------------------

    def add(self, app_id: str, user_id: str, connection: Connection) -> None:
        """A connection signed in."""
        connections = self._here[app_id].setdefault(user_id, set())
        connections.add(connection)
        if len(connections) == 1:
            self._mark(app_id, user_id)

    def remove(self, app_id: str, user_id: str, connection: Connection) -> None:
        """A signed-in connection ended."""
        connections = self._here[app_id].get(user_id)
        if connections is None:
            return
        connections.discard(connection)
        if not connections:
            del self._here[app_id][user_id]
            self._mark(app_id, user_id)

    def connections_of(self, app_id: str, user_id: str) -> set[Connection]:
        """The connections here that are signed in as this user."""
        return set(self._here[app_id].get(user_id, ()))

    @property
    def count(self) -> int:
        """How many users are signed in here."""
        return sum(map(len, self._here.values()))

    # --- in Redis ---------------------------------------------------------------------------------------------------

    def _mark(self, app_id: str, user_id: str) -> None:
        self._changed[app_id].add(user_id)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._broker.commander is None:
            return  # `restore` marks all of them when it is back
        for app_id, changed in self._changed.items():
            users = list(changed)
            changed.clear()
            for start in range(0, len(users), USERS_PER_CALL):
                self._send(app_id, users[start : start + USERS_PER_CALL])

    def _send(self, app_id: str, users: list[str]) -> None:
        node = self._lease.node
        if (app_id, node) not in self._noted:
            self._noted.add((app_id, node))
            self._lease.hold(HOLDING, app_id, ALL_USERS)
        arguments: list[Argument] = [control_topic(app_id), node]
        for user_id in users:
            arguments += ("+" if user_id in self._here[app_id] else "-", user_id)

        def written(reply: Reply | None) -> None:
            if reply is None and self._broker.commander is not None:  # refused; a lost connection is made good anyway
                self._loop.call_later(self._lease.heartbeat_seconds, self._mark_again, app_id, users)

        self._write.run([online_key(app_id), node_users_key(app_id, node)], arguments, written)

    def _mark_again(self, app_id: str, users: list[str]) -> None:
        for user_id in users:
            self._mark(app_id, user_id)

    def restore(self) -> None:
        """See `leases.Holder`. Also after every reconnect: Redis may have lost users, and missed some that left."""
        self._noted.clear()
        for app_id in self._app_ids():
            for user_id in self._here[app_id]:
                self._mark(app_id, user_id)
            if (commander := self._broker.commander) is not None:
                commander.send(self._mark_stored(app_id), "SMEMBERS", node_users_key(app_id, self._lease.node))

    def _mark_stored(self, app_id: str) -> Callable[[Reply], None]:
        def stored(reply: Reply) -> None:
            if isinstance(reply, list):
                for user_id in reply:
                    self._mark(app_id, user_id.decode())

        return stored

    def drop(self, app_id: str, name: str, node: str, done: Callable[[], None]) -> None:
        """See `leases.Holder`."""

        def dropped(left: Reply | None) -> None:
            if left:
                self.drop(app_id, name, node, done)
            else:
                done()

        keys = [online_key(app_id), node_users_key(app_id, node)]
        if not self._drop.run(keys, [control_topic(app_id), node, USERS_PER_CALL], dropped):
            done()

    def read(self, app_id: str, user_ids: Collection[str], done: StatesRead) -> bool:
        """Ask who of these (at most USERS_PER_CALL) is online; False when Redis is away, and then `done` stays silent.

        It stays silent too when the connection is lost before the answer.
        """
        users = list(user_ids)

        def answered(reply: Reply | None) -> None:
            if reply is not None:
                states = dict(zip(users, (bool(state) for state in reply[1:]), strict=True))
                done(states, int(reply[0]))

        return self._read.run([online_key(app_id)], users, answered)
