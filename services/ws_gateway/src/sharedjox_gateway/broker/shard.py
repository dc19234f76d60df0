"""One master of a Redis Cluster: a broker for the channels whose slots it serves now.

It differs from `RedisBroker` in its words (sharded pub/sub) and in what a refusal means: not that Redis is broken, but
that a slot is elsewhere or on its way. Then its `owner` is told, which finds the slot and opens the channel anew there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Protocol

import hiredis
from sharedjox_contracts.redis_layout import SHARDED_PUBLISH_MANY_SCRIPT, LimitsFor, seen_key
from sharedjox_kit.logs import get_logger
from sharedjox_kit.redis_address import RedisAddress

from sharedjox_gateway.protocol.messages import Position

from .base import Broker, ChannelListener
from .redis import RedisBroker
from .resp import Reply, RespConnection

_log = get_logger(__name__)
REDIRECTIONS: Final = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")


def is_redirection(reply: Any) -> bool:
    """Whether a node says that a slot is not its own, is moving, or that the Cluster is not whole just now."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(REDIRECTIONS)


class ShardOwner(Broker, Protocol):
    """Who uses several nodes as one broker."""

    def misplaced(self, app_id: str, channel: str) -> None:
        """The node does not serve this channel, or not now."""
        ...

    def refused(self, slot: int) -> None:
        """A node refused to subscribe to something in this slot, or to end that: it serves the slot no more."""
        ...

    def again(self, work: Callable[[], None]) -> None:
        """Do this once more when the slots have been looked up."""
        ...


class ShardBroker(RedisBroker):
    """`listener` hears of every channel opened here."""

    PUBLISH: ClassVar = "SPUBLISH"
    UNSUBSCRIBE: ClassVar = "SUNSUBSCRIBE"
    PUBLISH_SCRIPT: ClassVar = SHARDED_PUBLISH_MANY_SCRIPT

    def __init__(
        self,
        address: RedisAddress,
        listener: ChannelListener,
        limits_for: LimitsFor,
        owner: ShardOwner,
        *,
        probe_seconds: float,
        use_native: bool = True,
    ) -> None:
        super().__init__(address, listener, limits_for, [], probe_seconds=probe_seconds, use_native=use_native)
        self._owner = owner

    def doubt(self) -> None:
        """This node took over from one that was lost: it may not know every client that the other knew."""
        self._restarted_at = asyncio.get_running_loop().time()

    def _subscribe(self, subscriber: RespConnection, topics: Sequence[bytes]) -> None:
        for topic in topics:  # one command may name topics of one slot only
            subscriber.send(None, "SSUBSCRIBE", topic)

    def _heard(self, reply: Reply) -> None:
        self._is_heard = True
        if isinstance(reply, hiredis.ReplyError):
            self._refused(str(reply))
        if not isinstance(reply, list):
            return
        kind = reply[0]
        if kind == b"smessage":
            self._message(reply[1], reply[2])
        elif kind == b"ssubscribe":
            self._subscribed(reply[1])
        elif kind == b"sunsubscribe" and (named := self._topics.get(reply[1])) is not None:
            self._owner.misplaced(named[0], named[1])  # nobody asked for that: the slot has left this node

    def _refused(self, reason: str) -> None:
        kind, _, rest = reason.partition(" ")
        slot = rest.partition(" ")[0]
        if kind == "MOVED" and slot.isdigit():
            self._owner.refused(int(slot))
        elif self._subscriber is not None:
            _log.warning("broker.subscribe_refused", error=reason)
            self._subscriber.abort()  # which topic that was is not said: begin anew with all of them

    def _open_anew(self, _commander: RespConnection, app_id: str, channel: str, error: Reply) -> None:
        if not (is_redirection(error) or isinstance(error, ConnectionError)):  # those come by the thousand
            _log.warning("broker.channel_failed", channel=channel, error=str(error))
        self._owner.misplaced(app_id, channel)

    def save_position(self, app_id: str, channel: str, client_id: str, position: Position) -> None:
        """See `base.Broker.save_position`; it follows a slot that has moved."""
        if self._commander is None:
            return

        def saved(reply: Reply) -> None:
            if is_redirection(reply):
                self._owner.again(lambda: self._owner.save_position(app_id, channel, client_id, position))

        key, place = seen_key(app_id, channel, client_id), f"{position.epoch} {position.offset}"
        self._commander.send(saved, "SET", key, place, "EX", self._limits_for(channel).age_seconds)

    def load_position(self, app_id: str, channel: str, client_id: str, done: Callable[[Position | None], None]) -> None:
        """See `base.Broker.load_position`; it follows a slot that has moved."""

        def again() -> None:
            self._owner.again(lambda: self._owner.load_position(app_id, channel, client_id, done))

        def loaded(reply: Reply) -> None:
            if isinstance(reply, ConnectionError) or is_redirection(reply):
                again()
            else:
                done(self._recalled(channel, reply))

        if self._commander is None:
            again()
        else:
            self._commander.send(loaded, "GET", seen_key(app_id, channel, client_id))
