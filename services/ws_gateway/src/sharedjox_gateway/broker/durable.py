"""Publishing with history over the commanding connection: one script call per channel, answered by a callback."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from sharedjox_contracts.publication import publish_keys
from sharedjox_contracts.redis_layout import PUBLISH_MANY_SCRIPT, LimitsFor
from sharedjox_kit.clock import unix_ms

from .resp import Reply, RespConnection

PublishHandler = Callable[[Exception | None], None]
"""Hears how publishing ended: None when Redis has confirmed it, else why it has not (it may still have happened)."""

_SHA: Final = hashlib.sha1(PUBLISH_MANY_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class DurableEvent(Struct, frozen=True, gc=False):
    """One event for one channel: its id, `frames.open_event_frame`, `publication.encode_header`."""

    event_id: str
    opened_frame: bytes
    header: bytes


class DurablePublisher:
    """Runs the publish script. All events of one call are published or none is, in their order."""

    __slots__ = ("_epochs", "_limits_for", "_stem")

    def __init__(self, limits_for: LimitsFor) -> None:
        self._limits_for = limits_for
        # A candidate epoch must never be offered twice. Random per process and counted: no system call per event.
        self._stem = secrets.token_hex(6)
        self._epochs = itertools.count(1)

    def publish(
        self,
        connection: RespConnection,
        app_id: str,
        channel: str,
        events: Sequence[DurableEvent],
        cache_ms: int,
        done: PublishHandler,
    ) -> None:
        """Send the call; `done` follows. A Redis that forgot its scripts (restart, failover) gets the text again."""
        limits = self._limits_for(channel)
        arguments: list[bytes | str | int] = [
            "4",
            *publish_keys(app_id, channel),
            f"{self._stem}{next(self._epochs):x}",
            str(unix_ms()),
            limits.length,
            limits.age_seconds * 1000,
            limits.meta_seconds * 1000,
            str(cache_ms),
        ]
        for event in events:
            arguments += (event.event_id, event.opened_frame, event.header)

        def answered(reply: Reply) -> None:
            if not isinstance(reply, Exception):
                done(None)
            elif str(reply).startswith("NOSCRIPT"):
                connection.send(finally_answered, "EVAL", PUBLISH_MANY_SCRIPT, *arguments)
            else:
                done(reply)

        def finally_answered(reply: Reply) -> None:
            done(reply if isinstance(reply, Exception) else None)

        connection.send(answered, "EVALSHA", _SHA, *arguments)
