"""Webhook events that no script of a change writes: client events and cache misses. A worker sends them.

Source of the queue: `sharedjox_contracts.webhook_layout`.
"""

from __future__ import annotations

import msgspec
from sharedjox_contracts.codec import encode_json
from sharedjox_contracts.webhook_layout import CACHE_MISS_SCRIPT, MAX_QUEUED, merged_key, queue_key
from sharedjox_contracts.webhooks import CACHE_MISS, CLIENT_EVENT, WebhookEvent

from .apps import Apps
from .broker.redis import RedisBroker
from .broker.script import Script
from .connection.connection import Connection


class WebhookQueue:
    """Writes to the queue over the commanding connection, behind what the event is about."""

    def __init__(self, broker: RedisBroker, apps: Apps) -> None:
        self._broker = broker
        self._apps = apps
        self._cache_miss = Script(broker, CACHE_MISS_SCRIPT)

    def client_event(self, connection: Connection, channel: str, event: str, data: bytes, user_id: str | None) -> None:
        """A client event was accepted. `data` is JSON; receivers get it as a string."""
        commander = self._broker.commander
        if commander is None or not connection.app.wants_webhook(CLIENT_EVENT):
            return
        text = msgspec.json.decode(data, type=str) if data.startswith(b'"') else data.decode()
        told = WebhookEvent(
            CLIENT_EVENT, channel, user_id=user_id, event=event, data=text, socket_id=connection.socket_id
        )
        queue = queue_key(connection.app.id)
        commander.send(None, "XADD", queue, "MAXLEN", "~", MAX_QUEUED, "*", "e", encode_json(told))

    def cache_miss(self, app_id: str, channel: str) -> None:
        """A subscriber found no cached event; several within a short time are told as one."""
        app = self._apps.by_id(app_id)
        if app is not None and app.wants_webhook(CACHE_MISS):
            self._cache_miss.run([queue_key(app_id), merged_key(app_id, channel)], [channel])
