"""This process's lease in the cluster, and cleaning up behind processes that lost theirs.

Whoever registers something in Redis on behalf of this process (presence members, signed-in users, subscription counts)
is a `Holder`: it notes what it holds with `hold` before it registers it, registers everything again on `restore`, and
can `drop` what a dead node had registered. Source of the keys: `sharedjox_contracts.lease_layout`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Final, Protocol

import hiredis
from sharedjox_contracts.lease_layout import (
    HEARTBEAT_SCRIPT,
    LEASES_KEY,
    decode_holding,
    encode_holding,
    holdings_key,
    sweep_key,
)
from sharedjox_kit.logs import get_logger

from .broker.redis import RECONNECT_CAP_SECONDS, RedisBroker
from .broker.resp import Reply
from .broker.script import Script

_log = get_logger(__name__)
CLAIM_MS: Final = 4000
"""A sweeper that died is replaced after this long."""
SWEEP_CHUNK: Final = 500
RESIGN_SECONDS: Final = 1.0


class Holder(Protocol):
    """Something that this process registers in Redis and that must not outlive it."""

    def restore(self) -> None:
        """Register everything again, under `NodeLease.node`: the id changed or Redis may have lost it."""
        ...

    def drop(self, app_id: str, name: str, node: str, done: Callable[[], None]) -> None:
        """Take away what a dead node registered; idempotent. Call `done` when Redis has answered."""
        ...


class NodeLease:
    """Renews the lease every `heartbeat_seconds`; it ends `lease_seconds` after the last renewal."""

    def __init__(self, broker: RedisBroker, *, heartbeat_seconds: float, lease_seconds: float) -> None:
        self.node = secrets.token_hex(6)
        self.live: frozenset[str] = frozenset()
        """Nodes with a lease, as of the last heartbeat."""
        self.heartbeat_seconds = heartbeat_seconds
        self.lease_seconds = lease_seconds
        self.swept = 0
        self.on_beat: list[Callable[[], None]] = []
        """Called after each heartbeat that Redis answered."""
        self._broker = broker
        self._script = Script(broker, HEARTBEAT_SCRIPT)
        self._holders: dict[str, Holder] = {}
        self._is_new = True
        self._steady_since = 0.0
        self._last_answer = 0.0
        self._sweeping: set[str] = set()
        self._now = asyncio.get_running_loop().time
        broker.on_connected.append(self.beat)

    @property
    def doubt_seconds(self) -> float:
        """How long after an outage others may take to come back and register again what Redis has lost."""
        return self.lease_seconds + 2 * RECONNECT_CAP_SECONDS

    def register(self, kind: str, holder: Holder) -> None:
        """Name who is responsible for holdings of this kind (a word without spaces)."""
        self._holders[kind] = holder

    # --- what this node holds ---------------------------------------------------------------------------------------

    def hold(self, kind: str, app_id: str, name: str) -> None:
        """Note a holding; to be sent before the thing itself is registered."""
        self._send("SADD", holdings_key(self.node), encode_holding(kind, app_id, name))

    def release(self, kind: str, app_id: str, name: str) -> None:
        """Forget a holding; to be sent after the thing itself was taken away."""
        self._send("SREM", holdings_key(self.node), encode_holding(kind, app_id, name))

    def _send(self, *command: str) -> None:
        if (commander := self._broker.commander) is not None:
            commander.send(None, *command)

    # --- the lease --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Renew the lease until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(self.heartbeat_seconds)

    def beat(self) -> None:
        """Renew now."""
        lease_ms = round(self.lease_seconds * 1000)
        self._script.run([LEASES_KEY], [self.node, lease_ms, int(self._is_new)], self._beaten)

    def _beaten(self, reply: Reply | None) -> None:
        if reply is None:
            return
        now = self._now()
        if now - self._last_answer > self.lease_seconds / 2:
            self._steady_since = now
        self._last_answer = now
        if reply[0] == 0:
            self._start_anew()
            return
        self._is_new = False
        self.live = frozenset(node.decode() for node in reply[1])
        for listener in self.on_beat:
            listener()
        if self.is_steady:
            for node in reply[2]:
                self._claim(node.decode())

    @property
    def is_steady(self) -> bool:
        """Whether Redis answered all through the last lease time.

        After an outage all leases have run out and everybody is about to register again: cleaning up before that
        would remove, and announce as gone, members who never left.
        """
        return self._now() - self._steady_since >= self.lease_seconds

    def _start_anew(self) -> None:
        lost, self.node = self.node, secrets.token_hex(6)
        self._is_new = True
        _log.warning("lease.lost", node=lost, new_node=self.node)
        self.beat()
        for holder in self._holders.values():
            holder.restore()

    async def resign(self) -> None:
        """Give the lease up: this process holds nothing any more. Also waits until all it sent has arrived."""
        commander = self._broker.commander
        if commander is None:
            return
        commander.send(None, "DEL", holdings_key(self.node))
        with contextlib.suppress(OSError, TimeoutError, hiredis.HiredisError):
            async with asyncio.timeout(RESIGN_SECONDS):
                await commander.call("ZREM", LEASES_KEY, self.node)

    # --- cleaning up behind others ----------------------------------------------------------------------------------

    def _claim(self, node: str) -> None:
        commander = self._broker.commander
        if commander is None or node in self._sweeping:
            return

        def claimed(reply: Reply) -> None:
            if reply == b"OK":
                _Sweep(node, self._holders, self._broker, self._swept).start()
            else:
                self._sweeping.discard(node)

        self._sweeping.add(node)
        commander.send(claimed, "SET", sweep_key(node), self.node, "NX", "PX", CLAIM_MS)

    def _swept(self, node: str, *, is_done: bool) -> None:
        self._sweeping.discard(node)
        if is_done:
            self.swept += 1
            self._send("ZREM", LEASES_KEY, node)
            self._send("DEL", holdings_key(node), sweep_key(node))


class _Sweep:
    """Drops what one dead node held, some hundreds at a time. Interrupted, it is begun again by whoever comes next."""

    def __init__(self, node: str, holders: dict[str, Holder], broker: RedisBroker, ended: Callable[..., None]) -> None:
        self._node = node
        self._holders = holders
        self._broker = broker
        self._ended = ended
        self._entries: list[str] = []
        self._unanswered = 0

    def start(self) -> None:
        commander = self._broker.commander
        if commander is None:
            self._ended(self._node, is_done=False)
        else:
            commander.send(self._read, "SMEMBERS", holdings_key(self._node))

    def _read(self, reply: Reply) -> None:
        if not isinstance(reply, (list, set)):
            self._ended(self._node, is_done=False)
            return
        self._entries = [entry.decode() for entry in reply]
        _log.info("lease.sweeping", node=self._node, holdings=len(self._entries))
        self._next()

    def _next(self) -> None:
        chunk, self._entries = self._entries[:SWEEP_CHUNK], self._entries[SWEEP_CHUNK:]
        if not chunk or not self._broker.is_connected:
            self._ended(self._node, is_done=not chunk)
            return
        self._unanswered = len(chunk)
        for entry in chunk:
            try:
                kind, app_id, name = decode_holding(entry)
                holder = self._holders[kind]
            except (ValueError, KeyError):
                _log.warning("lease.unknown_holding", entry=entry)
                self._dropped()
            else:
                holder.drop(app_id, name, self._node, self._dropped)

    def _dropped(self) -> None:
        self._unanswered -= 1
        if self._unanswered == 0:
            self._next()
