"""Publishing with history over the commanding connection: one script call per channel and loop turn.

Events that come for one channel in one turn of the loop, from whomever, leave as one call: Redis looks at the channel's
position once for all of them, and what a call costs on both sides is shared.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakSet

from msgspec import Struct
from sharedjox_contracts.publication import publish_keys
from sharedjox_contracts.redis_layout import MAX_EVENTS_PER_CALL, PUBLISH_MANY_SCRIPT, LimitsFor
from sharedjox_kit.clock import unix_ms

from .resp import Reply, RespConnection

PublishHandler = Callable[[Exception | None], None]
"""Hears how publishing ended: None when Redis has confirmed it, else why it has not (it may still have happened)."""

MAX_REMEMBERED: Final = 2048
"""Channels whose part of the command is kept ready."""


class DurableEvent(Struct, frozen=True, gc=False):
    """One event for one channel: its id, `frames.open_event_frame`, `publication.encode_header`."""

    event_id: str
    opened_frame: bytes
    header: bytes


class _Stem(Struct, frozen=True, gc=False):
    """What is the same in every call for a channel, as it goes over the wire: around the epoch and the time."""

    keys: bytes
    limits: bytes


class _Call:
    """Events of one channel that wait for this turn's end, and who waits for them."""

    __slots__ = ("connection", "events", "stem", "waiting")

    def __init__(self, connection: RespConnection, stem: _Stem) -> None:
        self.connection = connection
        self.stem = stem
        self.events: list[DurableEvent] = []
        self.waiting: list[PublishHandler] = []

    def ended(self, failure: Exception | None) -> None:
        """Tell everybody."""
        for done in self.waiting:
            done(failure)


class DurablePublisher:
    """Runs the publish script. All events of one `publish` are published or none is; those of a channel in order."""

    __slots__ = ("_epochs", "_eval", "_evalsha", "_limits_for", "_pending", "_stem", "_stems", "_taught")

    def __init__(self, limits_for: LimitsFor, script: str = PUBLISH_MANY_SCRIPT) -> None:
        self._limits_for = limits_for
        self._eval = b"$4\r\nEVAL\r\n" + _bulk(script.encode())
        sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._evalsha = b"$7\r\nEVALSHA\r\n" + _bulk(sha.encode())
        # A candidate epoch must never be offered twice. Random per process and counted: no system call per event.
        self._stem = secrets.token_hex(6)
        self._epochs = itertools.count(1)
        self._stems: dict[tuple[str, str, int], _Stem] = {}
        self._pending: dict[tuple[str, str], _Call] = {}
        self._taught: WeakSet[RespConnection] = WeakSet()
        """Connections on which the script's text was sent."""

    def publish(
        self,
        connection: RespConnection,
        app_id: str,
        channel: str,
        events: Sequence[DurableEvent],
        cache_ms: int,
        done: PublishHandler,
    ) -> None:
        """Have the events sent at the end of this loop turn; `done` follows."""
        call = self._pending.get((app_id, channel))
        if call is None or call.connection is not connection or len(call.events) + len(events) > MAX_EVENTS_PER_CALL:
            if call is not None:
                self._send(call)
            elif not self._pending:
                connection.before_write(self._send_pending)
            stem = self._stems.get((app_id, channel, cache_ms)) or self._remember(app_id, channel, cache_ms)
            call = self._pending[app_id, channel] = _Call(connection, stem)
        call.events += events
        call.waiting.append(done)

    def _remember(self, app_id: str, channel: str, cache_ms: int) -> _Stem:
        limits = self._limits_for(channel)
        keys = b"".join(_bulk(key.encode()) for key in publish_keys(app_id, channel))
        numbers = (limits.length, limits.age_seconds * 1000, limits.meta_seconds * 1000, cache_ms)
        stem = _Stem(b"$1\r\n4\r\n" + keys, b"".join(_bulk(b"%d" % number) for number in numbers))
        if len(self._stems) >= MAX_REMEMBERED:
            self._stems.clear()
        self._stems[app_id, channel, cache_ms] = stem
        return stem

    def _send_pending(self) -> None:
        pending, self._pending = self._pending, {}
        for call in pending.values():
            self._send(call)

    def _send(self, call: _Call) -> None:
        """Send one call.

        The first on a connection carries the script's text: by its hash alone, calls behind it could overtake it, as
        those for which Redis did not know the script are sent again. One that forgets it later (SCRIPT FLUSH) gets it
        anew.
        """
        arguments = self._arguments(call)
        script = self._evalsha
        if call.connection not in self._taught:
            self._taught.add(call.connection)
            script = self._eval

        def answered(reply: Reply) -> None:
            if not isinstance(reply, Exception):
                call.ended(None)
            elif str(reply).startswith("NOSCRIPT"):
                call.connection.send_packed(finally_answered, _command(self._eval, call, arguments))
            else:
                call.ended(reply)

        def finally_answered(reply: Reply) -> None:
            call.ended(reply if isinstance(reply, Exception) else None)

        call.connection.send_packed(answered, _command(script, call, arguments))

    def _arguments(self, call: _Call) -> bytes:
        """The command behind the script, as it goes over the wire: hiredis takes five times as long to pack it."""
        epoch, now = f"{self._stem}{next(self._epochs):x}".encode(), b"%d" % unix_ms()
        parts = [call.stem.keys, _bulk(epoch), _bulk(now), call.stem.limits]
        for event in call.events:
            name, frame, header = event.event_id.encode(), event.opened_frame, event.header
            parts.append(
                b"$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(frame), frame, len(header), header)
            )
        return b"".join(parts)


def _bulk(value: bytes) -> bytes:
    """One argument in RESP."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


_FIXED_PARTS: Final = 13
"""Command, script, number of keys, four keys, six arguments; three more for each event."""


def _command(script: bytes, call: _Call, arguments: bytes) -> bytes:
    return b"*%d\r\n%b%b" % (_FIXED_PARTS + 3 * len(call.events), script, arguments)
