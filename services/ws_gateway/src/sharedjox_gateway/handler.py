"""What a Pusher message from a client leads to. One handler per process; all state is in connections and the hub.

Source: Pusher Channels protocol 7. Every subscribe is answered, one way or the other: pusher-js would wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from msgspec import Raw
from sharedjox_contracts.channels import ChannelKind, channel_kind, is_valid_channel_name, server_to_user
from sharedjox_contracts.codec import encode_json
from sharedjox_contracts.publication import Header, encode_transient
from sharedjox_contracts.signatures import channel_string

from .apps import Apps
from .confirmation import client_id_of
from .connection.connection import Connection
from .errors import ClientEventRefusedError, SubscribeRefusedError
from .hub.channel import Channel
from .hub.hub import Hub
from .presence.member import PresenceMember, checked_member, decode_member
from .presence.registry import PresenceRegistry
from .protocol import messages
from .protocol.close_codes import PusherError
from .protocol.messages import ClientMessage, MalformedMessageError, Position, SubscribeData
from .stats import Stats
from .subscriptions import Subscriptions
from .users.registry import UserRegistry
from .users.sign_in import SignInRefusedError
from .webhooks import WebhookQueue

CLIENT_EVENT_PREFIX: Final = "client-"
MAX_ABUSE: Final = 100


class MessageHandler:
    """Dispatches client messages. Never raises for what a client sends."""

    def __init__(
        self,
        hub: Hub[Connection],
        apps: Apps,
        subscriptions: Subscriptions,
        stats: Stats,
        publish: Callable[[str, str, bytes], bool],
        presence: PresenceRegistry,
        users: UserRegistry,
        webhooks: WebhookQueue,
        admit: Callable[[Connection], bool],
    ) -> None:
        self._hub = hub
        self._apps = apps
        self._subscriptions = subscriptions
        self._stats = stats
        self._publish = publish
        self._presence = presence
        self._users = users
        self._webhooks = webhooks
        self._admit = admit

    def handle(self, connection: Connection, payload: bytes) -> None:
        """Take one text message."""
        self._stats.messages_received += 1
        self._stats.bytes_received += len(payload)
        plain = messages.read_plain_subscribe(payload) if connection.joining is None else None
        if plain is not None:
            self._subscribe_to(connection, plain)
            return
        try:
            self._dispatch(connection, messages.decode_client_message(payload))
        except MalformedMessageError as error:
            connection.offer(messages.error_frame(None, str(error)))

    def _dispatch(self, connection: Connection, message: ClientMessage) -> None:
        event = message.event
        if event == "pusher:ping":
            connection.offer(messages.PONG)
        elif event == "pusher:subscribe":
            self._subscribe(connection, message)
        elif event == "pusher:unsubscribe":
            self._unsubscribe(connection, message)
        elif event.startswith(CLIENT_EVENT_PREFIX):
            self._client_event(connection, message)
        elif event == "pusher:signin":
            self._sign_in(connection, message)
        elif event != "pusher:pong":
            connection.offer(messages.error_frame(None, f"Unknown event: {event[:100]}"))

    # --- subscribing ------------------------------------------------------------------------------------------------

    def _subscribe(self, connection: Connection, message: ClientMessage) -> None:
        data = messages.decode_subscribe(message)
        if not self._is_deferred(connection, data.channel, message):
            self._subscribe_to(connection, data)

    def _subscribe_to(self, connection: Connection, data: SubscribeData) -> None:
        known = self._hub.channel(connection.app.id, data.channel)
        kind = channel_kind(data.channel) if known is None else known.kind
        try:
            recover = self._check_subscribe(connection, data, kind, is_known=known is not None)
            member = self._member(connection, data) if kind.is_presence else None
        except SubscribeRefusedError as refusal:
            self._stats.subscribe_refused[refusal.kind] += 1
            connection.offer(
                messages.subscription_error(data.channel[:200], refusal.kind, refusal.message, refusal.status)
            )
        else:
            if kind.needs_signature and not self._admit(connection):
                connection.refuse(PusherError.RECONNECT)
                return
            may_name_client = kind is ChannelKind.PRIVATE or kind is ChannelKind.PRIVATE_CACHE
            client_id = client_id_of(data.channel_data) if may_name_client else None
            self._subscriptions.join(connection, data.channel, recover, client_id, member=member)

    def _check_subscribe(
        self, connection: Connection, data: SubscribeData, kind: ChannelKind, *, is_known: bool
    ) -> Position | None:
        """Whether the connection may join; returns the position to recover from. Raises: SubscribeRefusedError.

        `is_known`: somebody joined the channel here before, so its name was found to be one.
        """
        limits = connection.app.limits
        longest = limits.max_channel_name_length
        was_checked = is_known and kind is not ChannelKind.SERVER_TO_USER and len(data.channel) <= longest
        if not was_checked and not is_valid_channel_name(data.channel, max_length=longest):
            raise SubscribeRefusedError("LimitReached", "Invalid channel name", 4009)
        if kind.needs_signature:
            self._check_signature(connection, data)
        elif kind is ChannelKind.SERVER_TO_USER and not self._is_own_channel(connection, data.channel):
            raise SubscribeRefusedError("AuthError", "Sign in as this user first", 401)
        held = len(connection.channels) + len(connection.joining or ())
        if held >= limits.max_channels_per_connection and not self._holds(connection, data.channel):
            raise SubscribeRefusedError("LimitReached", f"Limit of {held} channels per connection reached", 4100)
        if data.recover is None:
            return None
        try:
            return messages.decode_position(data.recover)
        except MalformedMessageError as error:
            # The subscription itself is fine: say what is wrong, in band, and join without recovery.
            connection.offer(messages.error_frame(None, str(error)))
            return None

    def _holds(self, connection: Connection, name: str) -> bool:
        channel = self._hub.channel(connection.app.id, name)
        return channel is not None and connection in channel.members

    def _is_own_channel(self, connection: Connection, channel: str) -> bool:
        signed_in = self._users.of(connection)
        return signed_in is not None and channel == server_to_user(signed_in.user_id)

    def _member(self, connection: Connection, data: SubscribeData) -> PresenceMember:
        """As whom the connection joins a presence channel: by its channel_data, else as the user it signed in as."""
        limits = connection.app.limits
        if data.channel_data is not None:
            return decode_member(data.channel_data, limits)
        signed_in = self._users.of(connection)
        if signed_in is None:
            raise SubscribeRefusedError("AuthError", "A presence channel needs channel_data or a signed-in user", 401)
        return checked_member(signed_in.user_id, signed_in.info, limits)

    def _check_signature(self, connection: Connection, data: SubscribeData) -> None:
        key, colon, signature = (data.auth or "").partition(":")
        if not colon:
            raise SubscribeRefusedError("AuthError", "The subscription carries no auth signature", 401)
        if key != connection.app.key:
            raise SubscribeRefusedError("AuthError", "Invalid key in subscription auth data", 401)
        text = channel_string(connection.socket_id, data.channel, data.channel_data)
        if not self._apps.signer(connection.app).verify(text, signature):
            raise SubscribeRefusedError(
                "AuthError",
                "Invalid signature: expected the HMAC SHA256 hex digest of "
                f"{connection.socket_id}:{data.channel}[:<channel_data>]",
                401,
            )

    def _unsubscribe(self, connection: Connection, message: ClientMessage) -> None:
        data = messages.decode_unsubscribe(message)
        if self._is_deferred(connection, data.channel, message):
            return
        channel = self._hub.channel(connection.app.id, data.channel)
        if channel is not None and channel.kind is not ChannelKind.SERVER_TO_USER:  # that one ends with the connection
            self._subscriptions.leave(connection, channel)

    def _is_deferred(self, connection: Connection, channel: str, message: ClientMessage) -> bool:
        """Keep a message for later while a subscribe to its channel is unanswered: order per channel is kept."""
        deferred = connection.joining.get(channel) if connection.joining else None
        if deferred is None:
            return False
        if len(deferred) >= MAX_ABUSE:
            connection.refuse(PusherError.UNAUTHORIZED, "Too many messages for a channel that is not joined yet")
            return True
        deferred.append(message)
        return True

    def joined(self, connection: Connection, channel: str) -> None:
        """A subscribe was answered: go on with what came behind it."""
        if connection.joining is None:
            return
        deferred = connection.joining.pop(channel, [])
        if not connection.joining:
            connection.joining = None
        for message in deferred:
            if not connection.is_closing:
                try:
                    self._dispatch(connection, message)
                except MalformedMessageError as error:
                    connection.offer(messages.error_frame(None, str(error)))

    # --- signing in -------------------------------------------------------------------------------------------------

    def _sign_in(self, connection: Connection, message: ClientMessage) -> None:
        data = messages.decode_signin(message)
        if not self._admit(connection):
            connection.refuse(PusherError.RECONNECT)
            return
        try:
            self._users.sign_in(connection, data)
        except SignInRefusedError as refusal:
            connection.offer(messages.error_frame(PusherError.UNAUTHORIZED.code, str(refusal)))

    # --- client events ----------------------------------------------------------------------------------------------

    def _client_event(self, connection: Connection, message: ClientMessage) -> None:
        if message.channel is not None and self._is_deferred(connection, message.channel, message):
            return
        try:
            channel = self._check_client_event(connection, message)
        except ClientEventRefusedError as refusal:
            connection.offer(messages.error_frame(refusal.error.code, refusal.message))
            return
        data = message.data if bytes(message.data) not in (b"", b"null") else Raw(b"{}")
        event: dict[str, object] = {"event": message.event, "channel": channel.name, "data": data}
        user_id = self._presence.user_of(connection, channel)
        if user_id is not None:
            event["user_id"] = user_id
        publication = encode_transient(Header(message.event, except_socket_id=connection.socket_id), encode_json(event))
        if self._publish(connection.app.id, channel.name, publication):
            self._stats.client_events += 1
            self._webhooks.client_event(connection, channel.name, message.event, bytes(data), user_id)
        else:
            connection.offer(messages.error_frame(None, "Client event not sent, please try again"))

    def _check_client_event(self, connection: Connection, message: ClientMessage) -> Channel:
        """The channel to send on. Raises: ClientEventRefusedError."""
        rejected = PusherError.CLIENT_EVENT_REJECTED
        limits = connection.app.limits
        name = message.channel or ""
        channel = self._hub.channel(connection.app.id, name)
        if not connection.app.client_events:
            raise ClientEventRefusedError(rejected, "Client events are not enabled for this app")
        if channel is None or connection not in channel.members:
            raise ClientEventRefusedError(rejected, "Client events need a subscription to their channel")
        if not channel.kind.allows_client_events:
            raise ClientEventRefusedError(rejected, "Client events need a private or presence channel")
        if len(message.event) > limits.max_event_name_length or len(bytes(message.data)) > limits.max_event_bytes:
            raise ClientEventRefusedError(rejected, "Client event too large")
        if not self._spend(connection, limits.client_events_per_second):
            raise ClientEventRefusedError(PusherError.CLIENT_EVENT_RATE, PusherError.CLIENT_EVENT_RATE.text)
        return channel

    @staticmethod
    def _spend(connection: Connection, rate: int) -> bool:
        """A token bucket of `rate` per second: what a fixed window would let through twice it lets through once."""
        now = time.monotonic()
        tokens, since = connection.whisper_budget or (float(rate), now)
        tokens = min(float(rate), tokens + (now - since) * rate)
        if tokens < 1:
            connection.whisper_budget = (tokens, now)
            return False
        connection.whisper_budget = (tokens - 1, now)
        return True
