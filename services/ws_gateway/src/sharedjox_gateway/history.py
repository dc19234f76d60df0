"""Reading a channel's history for those who come back. Many at once are served by one read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from .broker.base import Broker, HistoryPage
from .hub.channel import Channel
from .protocol.messages import Position
from .protocol.websocket import encode_frame


class Replay(Struct, frozen=True):
    """What a join adds to live events: where it starts, where it ends, and the frames in between.

    `recovered` is None when the client did not ask, False when what it missed is not to be had any more.
    """

    start: Position
    end: Position
    recovered: bool | None
    frames: Sequence[bytes]


ReplayHandler = Callable[[Replay], None]


class _Request(Struct, frozen=True, eq=False):
    position: Position
    done: ReplayHandler


class HistoryReader:
    """One read at a time per channel; whoever asks meanwhile shares the next one."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._requests: dict[Channel, list[_Request]] = {}
        self._parked: dict[Channel, list[_Request]] = {}

    def replay(self, channel: Channel, position: Position, done: ReplayHandler) -> None:
        """Collect what follows `position`, up to the channel's offset at the moment `done` is called."""
        requests = self._requests.get(channel)
        if requests is not None:
            requests.append(_Request(position, done))
            return
        self._requests[channel] = []
        self._read(channel, [_Request(position, done)])

    def _read(self, channel: Channel, requests: list[_Request]) -> None:
        after = min(request.position.offset for request in requests)
        self._broker.read_history(
            channel.app_id, channel.name, after, lambda page: self._answer(channel, requests, after, page)
        )

    def _answer(self, channel: Channel, requests: list[_Request], after: int, page: HistoryPage | None) -> None:
        waiting = self._requests.pop(channel, [])
        if page is None:  # the broker is away: nothing is known to be lost, so the clients wait for its return
            self._parked.setdefault(channel, []).extend(requests + waiting)
            return
        unanswered = self._serve(channel, requests, after, page) + waiting
        if unanswered:
            self._requests[channel] = []
            self._read(channel, unanswered)

    def reopened(self, channel: Channel) -> None:
        """The broker is back: read for those who came while it was away."""
        for request in self._parked.pop(channel, ()):
            self.replay(channel, request.position, request.done)

    def _serve(self, channel: Channel, requests: list[_Request], after: int, page: HistoryPage) -> list[_Request]:
        """Answer what this page can answer; returns the requests for which it was read too early."""
        if page.epoch != channel.epoch:
            for request in requests:
                request.done(_lost(channel))
            return []
        if page.offset < channel.offset:
            return requests  # published between the read and its answer
        first = page.publications[0].offset if page.publications else page.offset + 1
        frames = [encode_frame(publication.frame) for publication in page.publications]
        wanted = channel.offset - first + 1
        if wanted > len(frames):
            for request in requests:  # more than one page behind: refetching over REST is the quicker way
                request.done(_lost(channel))
            return []
        for request in requests:
            skip = request.position.offset + 1 - first
            if skip < 0 or request.position.epoch != channel.epoch:
                request.done(_lost(channel))
            else:
                end = Position(channel.epoch, channel.offset)
                request.done(Replay(request.position, end, True, frames[skip:wanted]))
        return []


def _lost(channel: Channel) -> Replay:
    here = Position(channel.epoch, channel.offset)
    return Replay(here, here, False, ())
