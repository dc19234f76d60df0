"""Reading a channel's history for those who come back. Many at once are served by one read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from .broker.base import Broker, HistoryPage
from .hub.channel import Channel
from .protocol.messages import Position
from .protocol.websocket import encode_frame

MAX_KEPT_BYTES: Final = 32 * 1024 * 1024
"""Of all pages that are kept for a while, in one process."""
PAGE_BYTES: Final = 1024
"""What a page costs without its frames, at most."""
MOST_JOINED: Final = 2
"""Who lost their connections together missed the same, give or take an event under way."""


class Replay(Struct, frozen=True):
    """What a join adds to live events: where it starts, where it ends, and the `count` frames in between, joined.

    `recovered` is None when the client did not ask, False when what it missed is not to be had any more. `data` is one
    object for all who missed the same: what waits for slow readers is in memory once.
    """

    start: Position
    end: Position
    recovered: bool | None
    count: int = 0
    data: bytes = b""


ReplayHandler = Callable[[Replay], None]


class _Request(Struct, frozen=True, eq=False):
    position: Position
    done: ReplayHandler


class _Page(Struct, frozen=True, eq=False):
    """What was read for somebody at `after`, when the channel was at `last`: the frames from the offset `first` on."""

    epoch: str
    after: int
    first: int
    last: int
    frames: list[bytes]
    joined: dict[tuple[int, int], bytes]
    """Joined frames by where they begin and end in `frames`, no more than MOST_JOINED."""

    def between(self, start: int, end: int) -> bytes:
        """These frames in one piece."""
        data = self.joined.get((start, end))
        if data is None:
            if len(self.joined) >= MOST_JOINED:
                self.joined.clear()
            data = self.joined[start, end] = b"".join(self.frames[start:end])
        return data

    @property
    def is_whole(self) -> bool:
        """Whether it has everything up to `last`: a read ends after so many entries."""
        return self.last - self.first + 1 == len(self.frames)

    def serves(self, channel: Channel, position: Position) -> bool:
        """Whether it reaches from `position` to where the channel stands now."""
        return self.epoch == channel.epoch and self.after <= position.offset and channel.offset <= self.last


class HistoryReader:
    """One read at a time per channel; whoever asks meanwhile shares it, or the next one.

    A page is kept for a few seconds (until `forget`): as long as nothing was published behind it, it answers everybody
    who was not further back than the one for whom it was read. A thousand clients that come back to a channel are then
    one read, not as many as Redis can answer while they come.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._requests: dict[Channel, list[_Request]] = {}
        self._parked: dict[Channel, list[_Request]] = {}
        self._kept: dict[Channel, _Page] = {}
        self._kept_bytes = 0

    def replay(self, channel: Channel, position: Position, done: ReplayHandler) -> None:
        """Collect what follows `position`, up to the channel's offset at the moment `done` is called."""
        page = self._kept.get(channel)
        if page is not None and page.serves(channel, position):
            self._serve(channel, [_Request(position, done)], page)
            return
        requests = self._requests.get(channel)
        if requests is not None:
            requests.append(_Request(position, done))
            return
        self._requests[channel] = []
        self._read(channel, [_Request(position, done)])

    def reopened(self, channel: Channel) -> None:
        """The broker is back: read for those who came while it was away. What was read before is not to be trusted."""
        self._drop(channel)
        for request in self._parked.pop(channel, ()):
            self.replay(channel, request.position, request.done)

    def forget(self) -> None:
        """Give the pages up that are kept. To be called every few seconds."""
        self._kept.clear()
        self._kept_bytes = 0

    # --- reading ----------------------------------------------------------------------------------------------------

    def _read(self, channel: Channel, requests: list[_Request]) -> None:
        after = min(request.position.offset for request in requests)
        self._broker.read_history(
            channel.app_id, channel.name, after, lambda page: self._answer(channel, requests, after, page)
        )

    def _answer(self, channel: Channel, requests: list[_Request], after: int, read: HistoryPage | None) -> None:
        requests += self._requests.pop(channel, [])
        if read is None:  # the broker is away: nothing is known to be lost, so the clients wait for its return
            self._parked.setdefault(channel, []).extend(requests)
            return
        page = _page(read, after)
        self._keep(channel, page)
        unanswered = self._serve(channel, requests, page)
        if not unanswered:
            return
        waiting = self._requests.get(channel)
        if waiting is not None:  # somebody who was answered has asked again: a read is under way
            waiting.extend(unanswered)
        else:
            self._requests[channel] = []
            self._read(channel, unanswered)

    def _keep(self, channel: Channel, page: _Page) -> None:
        """Keep a page instead of older ones, within MAX_KEPT_BYTES."""
        self._drop(channel)
        if not page.is_whole:
            return
        size = _size(page)
        while self._kept and self._kept_bytes + size > MAX_KEPT_BYTES:
            self._drop(next(iter(self._kept)))
        if size <= MAX_KEPT_BYTES:
            self._kept[channel] = page
            self._kept_bytes += size

    def _drop(self, channel: Channel) -> None:
        page = self._kept.pop(channel, None)
        if page is not None:
            self._kept_bytes -= _size(page)

    # --- answering --------------------------------------------------------------------------------------------------

    def _serve(self, channel: Channel, requests: list[_Request], page: _Page) -> list[_Request]:
        """Answer what this page can answer; returns the requests that need another one."""
        unanswered: list[_Request] = []
        for request in requests:
            if page.epoch != channel.epoch or request.position.epoch != channel.epoch:
                request.done(_lost(channel))
            elif page.last < channel.offset or request.position.offset < page.after:
                unanswered.append(request)  # published, or asked for, between the read and its answer
            elif not page.is_whole and channel.offset - request.position.offset <= len(page.frames):
                unanswered.append(request)  # read for somebody further back; this one's own read is short enough
            else:
                request.done(_replay(channel, request.position, page))
        return unanswered


def _page(read: HistoryPage, after: int) -> _Page:
    first = read.publications[0].offset if read.publications else read.offset + 1
    frames = [encode_frame(publication.frame) for publication in read.publications]
    return _Page(read.epoch, after, first, read.offset, frames, {})


def _size(page: _Page) -> int:
    return PAGE_BYTES + (1 + MOST_JOINED) * sum(map(len, page.frames))


def _replay(channel: Channel, position: Position, page: _Page) -> Replay:
    skip, wanted = position.offset + 1 - page.first, channel.offset - page.first + 1
    if skip < 0 or wanted > len(page.frames):  # cut away, or more than one read: refetching over REST is quicker
        return _lost(channel)
    here = Position(channel.epoch, channel.offset)
    return Replay(position, here, True, wanted - skip, page.between(skip, wanted))


def _lost(channel: Channel) -> Replay:
    here = Position(channel.epoch, channel.offset)
    return Replay(here, here, False)
