"""Presence in Redis: sending changes, reading members. Source of keys and script: `presence_layout`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from sharedjox_contracts.presence_layout import (
    DROP,
    EXACT,
    PRESENCE_SCRIPT,
    SNAPSHOT,
    WEBHOOKS,
    RosterEntry,
    decode_roster,
    members_key,
)
from sharedjox_contracts.redis_layout import live_topic
from sharedjox_contracts.webhook_layout import held_key, queue_key

from sharedjox_gateway.apps import Apps
from sharedjox_gateway.broker.redis import RedisBroker
from sharedjox_gateway.broker.resp import Reply
from sharedjox_gateway.broker.script import Script
from sharedjox_gateway.leases import NodeLease

HOLDING: Final = "presence"
"""The kind of holding that a node notes for a channel on which it has members."""


class Operation(Struct, frozen=True):
    """One change asked for. `kind` is JOIN, KEEP, LEAVE or DROP of the layout."""

    kind: str
    user_id: str
    info: bytes = b""


class Outcome(Struct, frozen=True):
    """The answer: for each operation whether it took effect, and the members if they were asked for."""

    epoch: str
    version: int
    accepted: Sequence[bool]
    members: Sequence[RosterEntry] | None


class PresenceStore:
    """Runs the presence script for this node."""

    def __init__(self, broker: RedisBroker, lease: NodeLease, apps: Apps) -> None:
        self._broker = broker
        self._lease = lease
        self._apps = apps
        self._script = Script(broker, PRESENCE_SCRIPT)

    def change(
        self,
        app_id: str,
        channel: str,
        operations: Sequence[Operation],
        done: Callable[[Outcome | None], None],
        *,
        snapshot: bool = False,
        exact: bool = False,
    ) -> bool:
        """Send changes in order; `done` gets None when the connection was lost. False when Redis is away now.

        `exact`: `operations` names all that this node holds.
        """
        app = self._apps.by_id(app_id)
        tells = app is not None and app.wants_webhook("member_added", "member_removed")
        flags = (SNAPSHOT if snapshot else "") + (EXACT if exact else "") + (WEBHOOKS if tells else "")
        limit = app.limits.max_presence_members if app is not None else 0
        arguments: list[bytes | str | int] = [channel, self._lease.node, secrets.token_hex(6), limit, flags]
        for operation in operations:
            arguments += (operation.kind, operation.user_id, operation.info)
        keys = [members_key(app_id, channel), live_topic(app_id, channel), queue_key(app_id), held_key(app_id)]
        return self._script.run(keys, arguments, lambda reply: done(_outcome(reply)))

    def drop_node(self, app_id: str, channel: str, node: str, done: Callable[[], None]) -> None:
        """Take away what a dead node held."""
        if not self.change(app_id, channel, [Operation(DROP, node)], lambda _outcome: done()):
            done()

    def hold(self, app_id: str, channel: str) -> None:
        """Note that this node has members on the channel; before they are registered."""
        self._lease.hold(HOLDING, app_id, channel)

    def release(self, app_id: str, channel: str) -> None:
        """Note that it has none any more; after they left."""
        self._lease.release(HOLDING, app_id, channel)


def _outcome(reply: Reply | None) -> Outcome | None:
    if reply is None:
        return None
    epoch, version, accepted, fields = reply
    members = None if fields is None else decode_roster(fields)
    return Outcome(epoch.decode(), int(version), [bool(result) for result in accepted], members)


class PresenceDirectory:
    """Members of any channel in the cluster, for the HTTP API. Raises: OSError when Redis is away."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    async def users(self, app_id: str, channel: str) -> list[str]:
        """The user ids on a presence channel; empty when nobody is."""
        fields: list[bytes] = await self._call("HKEYS", members_key(app_id, channel))
        return [field.decode() for field in fields if field]

    async def user_counts(self, app_id: str, channels: Sequence[str]) -> list[int]:
        """How many distinct users are on each of these presence channels, in one round trip."""
        calls = [self._call("HLEN", members_key(app_id, channel)) for channel in channels]
        return [max(int(fields) - 1, 0) for fields in await asyncio.gather(*calls)]

    def _call(self, *command: str) -> asyncio.Future[Reply]:
        commander = self._broker.commander
        if commander is None:
            raise ConnectionError("Redis is away")
        return commander.call(*command)
