"""Cache channels: the last event, given to newcomers behind their acknowledgement.

The publish script keeps it (`redis_layout.last_key`). Between reading it and completing the join more may be published,
so whether it is still needed is decided at the last moment: what also comes live or by recovery is not sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from sharedjox_contracts.publication import MalformedPublicationError, Publication, decode_publication
from sharedjox_contracts.redis_layout import last_key

from .broker.resp import Reply, RespConnection
from .hub.channel import Channel
from .join import Frames, Join, Moment, Preparation
from .protocol import messages
from .protocol.websocket import encode_frame

RETRY_SECONDS: Final = 0.5
MissListener = Callable[[str, str], None]
"""(app id, channel)"""


class _Data(msgspec.Struct, frozen=True):
    """What `GET /channels/{name}?info=cache` shows of a frame."""

    data: str = ""


_DATA: Final = msgspec.json.Decoder(_Data)


class CachedEvents:
    """The last events of cache channels. Implements `join.Preparation`.

    `commander_of` names the connection to the server of a channel, or None while that is away.
    """

    def __init__(self, commander_of: Callable[[str, str], RespConnection | None]) -> None:
        self._commander_of = commander_of
        self._loop = asyncio.get_running_loop()
        self.on_miss: list[MissListener] = []
        """Told when a subscriber found no cached event."""

    def prepare(self, join: Join, ready: Callable[[dict[str, Any], Frames], None]) -> None:
        """See `join.Preparation`. While Redis is away the join waits."""
        channel = join.channel
        asked_at = channel.offset

        def read(reply: Reply) -> None:
            if isinstance(reply, Exception):
                self._loop.call_later(RETRY_SECONDS, self.prepare, join, ready)
            else:
                cached = _decode(reply)
                ready({}, lambda moment: self._frames(channel, cached, asked_at, moment))

        commander = self._commander_of(channel.app_id, channel.name)
        if join.connection.is_closing:
            ready({}, b"")
        elif commander is None:
            self._loop.call_later(RETRY_SECONDS, self.prepare, join, ready)
        else:
            commander.send(read, "GET", last_key(channel.app_id, channel.name))

    def _frames(self, channel: Channel, cached: Publication | None, asked_at: int, moment: Moment) -> bytes:
        """What a newcomer gets, unless it has it or gets it another way."""
        if not moment.is_first:
            return b""
        newest = channel.newest
        if newest is not None and newest.offset > max(asked_at, cached.offset if cached is not None else 0):
            return b"" if moment.replay.recovered else newest.frame  # members had it while Redis was being asked
        if cached is None:
            for listener in self.on_miss:
                listener(channel.app_id, channel.name)
            return messages.json_frame({"event": "pusher:cache_miss", "data": "{}", "channel": channel.name})
        if moment.replay.recovered or (cached.epoch == moment.epoch and cached.offset > moment.offset):
            return b""  # in the replay or before it; or on its way to this channel, live
        return encode_frame(cached.frame)

    async def info(self, app_id: str, channel: str) -> dict[str, Any] | None:
        """The cached event's data and its remaining life in seconds. Raises: OSError, hiredis.HiredisError."""
        commander = self._commander_of(app_id, channel)
        if commander is None:
            raise ConnectionError("Redis is away")
        key = last_key(app_id, channel)
        remaining = commander.call("PTTL", key)
        cached = _decode(await commander.call("GET", key))
        if cached is None:
            await remaining
            return None
        return {"data": _DATA.decode(cached.frame).data, "ttl": max(0, -(-int(await remaining) // 1000))}


def _decode(reply: Reply) -> Publication | None:
    try:
        return decode_publication(reply) if reply is not None else None
    except MalformedPublicationError:
        return None


class InTurn:
    """Two preparations of one join, one after the other; the second one's answer completes it at once."""

    def __init__(self, first: Preparation, second: Preparation) -> None:
        self._first = first
        self._second = second

    def prepare(self, join: Join, ready: Callable[[dict[str, Any], Frames], None]) -> None:
        """See `join.Preparation`."""

        def first_ready(data: dict[str, Any], frames: Frames) -> None:
            self._second.prepare(join, lambda more, others: ready({**data, **more}, _joined(others, frames)))

        self._first.prepare(join, first_ready)


def _joined(one: Frames, other: Frames) -> Frames:
    if one == b"":
        return other
    return lambda moment: b"".join(part(moment) if callable(part) else part for part in (one, other))
