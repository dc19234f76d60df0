"""Sign-in, from a checked request to its consequences: the user's own channel, being online, the watchlist."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from sharedjox_contracts.channels import server_to_user
from sharedjox_contracts.control import UserState

from sharedjox_gateway.apps import Apps
from sharedjox_gateway.broker.redis import RedisBroker
from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.hub.hub import Hub
from sharedjox_gateway.leases import NodeLease
from sharedjox_gateway.protocol import messages
from sharedjox_gateway.protocol.close_codes import PusherError
from sharedjox_gateway.protocol.messages import SigninData
from sharedjox_gateway.subscriptions import Subscriptions

from .online import OnlineUsers
from .sign_in import SignedIn, SignInRefusedError, check_sign_in
from .watchlists import Watchlists

NOT_AUTHORIZED_IN_TIME: Final = "Connection not authorized within timeout"


class UserRegistry:
    """The signed-in users of this process."""

    def __init__(
        self,
        hub: Hub[Connection],
        broker: RedisBroker,
        lease: NodeLease,
        apps: Apps,
        subscriptions: Subscriptions,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._apps = apps
        self._subscriptions = subscriptions
        self._online = OnlineUsers(broker, lease, lambda: apps.ids)
        self._watchlists = Watchlists(self._online, hub.deliver, lambda ask: loop.call_later(lease.doubt_seconds, ask))
        self._deadlines: dict[int, deque[tuple[float, Connection]]] = {}
        self._now = loop.time
        broker.on_listening.append(self._watchlists.resync)

    @property
    def count(self) -> int:
        """How many users are signed in here."""
        return self._online.count

    @staticmethod
    def of(connection: Connection) -> SignedIn | None:
        """What the connection signed in with."""
        return connection.sign_in if isinstance(connection.sign_in, SignedIn) else None

    def sign_in(self, connection: Connection, data: SigninData) -> None:
        """Sign a connection in. It is answered when events for the user reach it. Raises: SignInRefusedError."""
        signed_in = check_sign_in(connection.app, self._apps, connection.socket_id, data)
        before = self.of(connection)
        if before is not None and before.user_id != signed_in.user_id:
            raise SignInRefusedError("The connection is signed in as another user")
        if before is None:
            connection.sign_in = signed_in
            self._online.add(connection.app.id, signed_in.user_id, connection)

        def welcome() -> bytes:
            answer = messages.signin_success(data.user_data)
            if before is None:
                # On the next turn, so that the list comes behind the answer.
                asyncio.get_running_loop().call_soon(self._watch, connection, signed_in)
                if signed_in.is_watchlist_cut:
                    error = PusherError.WATCHLIST_TOO_LONG
                    answer += messages.error_frame(error.code, error.text)
            return answer

        self._subscriptions.join(connection, server_to_user(signed_in.user_id), None, welcome=welcome)

    def _watch(self, connection: Connection, signed_in: SignedIn) -> None:
        if not connection.is_closing:
            self._watchlists.start(connection, signed_in.watchlist)

    def ended(self, connection: Connection) -> None:
        """The connection takes no more part."""
        signed_in = self.of(connection)
        if signed_in is not None:
            self._online.remove(connection.app.id, signed_in.user_id, connection)
            self._watchlists.stop(connection)

    def connections_of(self, app_id: str, user_id: str) -> set[Connection]:
        """The connections here that are signed in as this user."""
        return self._online.connections_of(app_id, user_id)

    def state_changed(self, app_id: str, state: UserState) -> None:
        """A user came online or went offline somewhere."""
        self._watchlists.changed(app_id, state.user_id, state.version, is_online=state.is_online)

    # --- authorized connections -------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A connection was accepted; in some apps it has to authorize itself soon."""
        seconds = connection.app.authorized_connections_seconds
        if seconds:
            self._deadlines.setdefault(seconds, deque()).append((self._now() + seconds, connection))

    def tick(self) -> None:
        """Close the connections whose time is up."""
        now = self._now()
        for waiting in self._deadlines.values():  # one queue for each duration, so each is in order
            while waiting and waiting[0][0] <= now:
                _deadline, connection = waiting.popleft()
                if not connection.is_closing and not self._is_authorized(connection):
                    connection.refuse(PusherError.UNAUTHORIZED, NOT_AUTHORIZED_IN_TIME)

    def _is_authorized(self, connection: Connection) -> bool:
        return self.of(connection) is not None or any(channel.kind.needs_signature for channel in connection.channels)
