"""Watchlists: telling connections who of the users they watch is online, first all of them, then every change.

A process knows the state of each user that somebody here watches, with its version, from one of two sources: it asked,
or the change was announced. The one with the higher version counts, so neither can overtake the other.

After an outage a user who is not in Redis may only not be there *yet*; such an absence is believed when it is found
again a lease time later.

Source: Pusher Channels, "Watchlist events".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from sharedjox_contracts.online_layout import USERS_PER_CALL

from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.hub.channel import Channel, Delivery
from sharedjox_gateway.protocol import messages

from .online import OnlineUsers

EVENT: Final = "pusher_internal:watchlist_events"


class _Watched:
    """A user whom connections here watch. `channel` is no channel of the protocol: it only uses the fan-out."""

    __slots__ = ("channel", "is_online", "version", "watchers")

    def __init__(self, app_id: str, user_id: str) -> None:
        self.channel = Channel(app_id, user_id)
        self.is_online: bool | None = None
        self.version = 0
        self.watchers = 0
        """Connections that watch the user, those that wait for the first answer included."""


class Watchlists:
    """The watched users of this process. `later` runs a function after a lease time."""

    def __init__(
        self,
        online: OnlineUsers,
        deliver: Callable[[Channel, Delivery], None],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self._online = online
        self._deliver = deliver
        self._later = later
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._lists: dict[Connection, tuple[str, ...]] = {}
        self._waiting: dict[Connection, tuple[str, ...]] = {}

    def start(self, connection: Connection, user_ids: tuple[str, ...]) -> None:
        """Tell a connection the state of these users, at once or when it is known, and every change from then on."""
        if not user_ids or connection in self._lists:
            return
        self._lists[connection] = self._waiting[connection] = user_ids
        unknown = []
        for user_id in user_ids:
            watched = self._ensure(connection.app.id, user_id)
            watched.watchers += 1
            if watched.is_online is None:
                unknown.append(user_id)
        if unknown:
            self._ask(connection.app.id, unknown, believe_absence=True)
        else:
            self._begin(connection)

    def _ensure(self, app_id: str, user_id: str) -> _Watched:
        watched = self._watched.get((app_id, user_id))
        if watched is None:
            watched = self._watched[app_id, user_id] = _Watched(app_id, user_id)
        return watched

    def stop(self, connection: Connection) -> None:
        """The connection ended."""
        app_id = connection.app.id
        self._waiting.pop(connection, None)
        for user_id in self._lists.pop(connection, ()):
            watched = self._watched[app_id, user_id]
            watched.channel.discard(connection)
            watched.watchers -= 1
            if not watched.watchers:
                del self._watched[app_id, user_id]

    def _begin(self, connection: Connection) -> None:
        """The state of everybody on the list is known: say it, and let changes through."""
        app_id = connection.app.id
        everybody = [(user_id, self._watched[app_id, user_id]) for user_id in self._waiting.pop(connection)]
        events = []
        for name, is_online in (("online", True), ("offline", False)):
            user_ids = [user_id for user_id, watched in everybody if watched.is_online is is_online]
            if user_ids:
                events.append({"name": name, "user_ids": user_ids})
        for _user_id, watched in everybody:
            watched.channel.add(connection)
        connection.offer(messages.json_frame({"event": EVENT, "data": {"events": events}}))

    # --- what is known ----------------------------------------------------------------------------------------------

    def changed(self, app_id: str, user_id: str, version: int, *, is_online: bool) -> None:
        """A user's first connection signed in somewhere, or the last one ended."""
        watched = self._watched.get((app_id, user_id))
        if watched is None or version <= watched.version:
            return
        was_online = watched.is_online
        watched.version, watched.is_online = version, is_online
        if was_online is not None and was_online is not is_online:
            event = {"name": "online" if is_online else "offline", "user_ids": [user_id]}
            frame = messages.json_frame({"event": EVENT, "data": {"events": [event]}})
            self._deliver(watched.channel, Delivery(frame, EVENT))
        elif was_online is None:
            self._settle()

    def _ask(self, app_id: str, user_ids: Iterable[str], *, believe_absence: bool) -> None:
        users = list(user_ids)
        for start in range(0, len(users), USERS_PER_CALL):
            self._online.read(
                app_id,
                users[start : start + USERS_PER_CALL],
                lambda states, version: self._read(app_id, states, version, believe_absence=believe_absence),
            )

    def _read(self, app_id: str, states: dict[str, bool], version: int, *, believe_absence: bool) -> None:
        doubtful = []
        for user_id, is_online in states.items():
            watched = self._watched.get((app_id, user_id))
            if watched is None:
                continue
            if is_online or believe_absence or not watched.is_online:
                self.changed(app_id, user_id, version, is_online=is_online)
            else:
                doubtful.append(user_id)
        self._settle()
        if doubtful:
            self._later(lambda: self._ask(app_id, doubtful, believe_absence=True))

    def _settle(self) -> None:
        for connection in list(self._waiting):
            users = self._waiting[connection]
            if all(self._watched[connection.app.id, user_id].is_online is not None for user_id in users):
                self._begin(connection)

    def resync(self, app_id: str) -> None:
        """Announcements may have been missed: ask for everybody."""
        users = [user_id for (app, user_id) in self._watched if app == app_id]
        self._ask(app_id, users, believe_absence=False)
