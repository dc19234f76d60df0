"""What commands do here: revocations, closings, terminations and drains, whoever of the platform gave them."""

from __future__ import annotations

from collections.abc import Callable

from sharedjox_contracts.control import Close, Command, Drain, TerminateUser, Unsubscribe, UserState

from .apps import Apps
from .connection.connection import Connection
from .grants import GrantWatch
from .hub.hub import Hub
from .presence.registry import PresenceRegistry
from .protocol import messages
from .protocol.close_codes import PUSHER_CODES, PusherError
from .subscriptions import REVOKED, Subscriptions
from .users.registry import UserRegistry


class Commands:
    """Carries commands out on this process. `drain` gets the name of the process that is to go."""

    def __init__(
        self,
        hub: Hub[Connection],
        apps: Apps,
        subscriptions: Subscriptions,
        presence: PresenceRegistry,
        users: UserRegistry,
        grants: GrantWatch,
        drain: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._apps = apps
        self._subscriptions = subscriptions
        self._presence = presence
        self._users = users
        self._grants = grants
        self._drain = drain

    def apply(self, app_id: str, command: Command) -> None:
        """Do what an app's command says. One that concerns nobody here is nothing to do."""
        if isinstance(command, TerminateUser):
            self._terminate(app_id, command.user_id)
            return
        if isinstance(command, UserState):
            self._users.state_changed(app_id, command)
            return
        if isinstance(command, Drain):
            self._drain(command.process)
            return
        connection = self._hub.connections.get(command.socket_id)
        if connection is None or connection.app.id != app_id:
            return
        if isinstance(command, Unsubscribe):
            self._revoke(connection, command.channel)
        elif isinstance(command, Close):
            is_ours = command.code in PUSHER_CODES  # any other is none that clients would make sense of
            connection.refuse_with(command.code if is_ours else PusherError.UNAUTHORIZED.code, command.reason)

    def _terminate(self, app_id: str, user_id: str) -> None:
        """Close whoever is signed in as this user, and with the app's leave whoever is present as this user."""
        connections = self._users.connections_of(app_id, user_id)
        app = self._apps.by_id(app_id)
        if app is not None and app.terminate_by_presence_user:
            connections |= self._presence.connections_of(app_id, user_id)
        for connection in connections:
            connection.refuse(PusherError.UNAUTHORIZED, "Your connection was terminated")

    def _revoke(self, connection: Connection, name: str) -> None:
        """Take a channel away for good and say so in the form that reaches Echo's `.error()`."""
        if connection.denied is None:
            connection.denied = set()
        connection.denied.add(name)
        self._grants.mark(connection)
        channel = self._hub.channel(connection.app.id, name)
        if channel is not None and self._subscriptions.leave(connection, channel):
            connection.offer(messages.subscription_error(name, "AuthError", REVOKED, 403))
