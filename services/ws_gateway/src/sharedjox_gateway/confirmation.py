"""Recovery for stock clients: remembering for them what they have certainly received.

pusher-js forgets where it was. When its app signs a per-tab `client_id` into a private channel's `channel_data`, the
gateway keeps the position instead: soon after events were written it sends a WebSocket ping; the pong, which every
browser answers by itself, confirms all that was written before. The confirmed position lives in Redis, so whichever
node the client comes back to replays the rest. At least once, in order; `id` in each frame tells repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from .broker.base import Broker
from .connection.connection import Connection
from .hub.channel import Channel
from .protocol.messages import Position
from .protocol.websocket import Opcode, encode_frame

MAX_CLIENT_ID_LENGTH: Final = 64
_PAYLOAD_PREFIX: Final = b"seen-"


class _ChannelData(Struct, frozen=True):
    client_id: Any = None


_CHANNEL_DATA: Final = msgspec.json.Decoder(_ChannelData)


def client_id_of(channel_data: str | None) -> str | None:
    """The per-tab id in a private channel's signed `channel_data`, or None when it carries none that is usable."""
    if channel_data is None:
        return None
    try:
        client_id = _CHANNEL_DATA.decode(channel_data).client_id
    except (msgspec.DecodeError, UnicodeError):
        return None
    if isinstance(client_id, str) and 0 < len(client_id) <= MAX_CLIENT_ID_LENGTH:
        return client_id
    return None


class _Tracked:
    """What one connection was sent and has confirmed."""

    __slots__ = ("client_ids", "confirmed", "in_flight", "number")

    def __init__(self) -> None:
        self.client_ids: dict[Channel, str] = {}
        self.confirmed: dict[Channel, Position] = {}
        self.in_flight: dict[Channel, Position] | None = None
        self.number = 0


class Confirmations:
    """The tracked connections of one process. `tick` is called every half second."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._tracked: dict[Connection, _Tracked] = {}

    def recall(self, app_id: str, channel: str, client_id: str, done: Callable[[Position | None], None]) -> None:
        """Ask where this client was; `done` gets None when nobody knows, or Redis is away."""
        self._broker.load_position(app_id, channel, client_id, done)

    def track(self, connection: Connection, channel: Channel, client_id: str, position: Position) -> None:
        """Begin to confirm what this subscription gets. `position` is where the client stands for certain."""
        tracked = self._tracked.get(connection)
        if tracked is None:
            tracked = self._tracked[connection] = _Tracked()
        tracked.client_ids[channel] = client_id
        self._confirm(tracked, channel, position)

    def left(self, connection: Connection, channel: Channel) -> None:
        """The client unsubscribed: it wants nothing replayed."""
        tracked = self._tracked.get(connection)
        if tracked is None or channel not in tracked.client_ids:
            return
        client_id = tracked.client_ids.pop(channel)
        tracked.confirmed.pop(channel, None)
        self._broker.forget_position(channel.app_id, channel.name, client_id)
        if not tracked.client_ids:
            del self._tracked[connection]

    def ended(self, connection: Connection) -> None:
        """The connection is gone; what it confirmed stays for its successor."""
        self._tracked.pop(connection, None)

    def tick(self) -> None:
        """Ask connections that were sent something since their last confirmation."""
        for connection, tracked in self._tracked.items():
            if tracked.in_flight is None and not connection.is_closing:
                news = {
                    channel: position
                    for channel in tracked.client_ids
                    if (position := Position(channel.epoch, channel.served_offset())) != tracked.confirmed.get(channel)
                }
                if news:
                    tracked.in_flight = news
                    tracked.number += 1
                    connection.offer(encode_frame(b"%s%d" % (_PAYLOAD_PREFIX, tracked.number), Opcode.PING))

    def ponged(self, connection: Connection, payload: bytes) -> None:
        """A pong came; if it answers the ping in flight, everything before that ping has arrived."""
        tracked = self._tracked.get(connection)
        if tracked is None or tracked.in_flight is None:
            return
        if payload != b"%s%d" % (_PAYLOAD_PREFIX, tracked.number):
            return
        news, tracked.in_flight = tracked.in_flight, None
        for channel, position in news.items():
            if channel in tracked.client_ids:
                self._confirm(tracked, channel, position)

    def _confirm(self, tracked: _Tracked, channel: Channel, position: Position) -> None:
        tracked.confirmed[channel] = position
        self._broker.save_position(channel.app_id, channel.name, tracked.client_ids[channel], position)
