"""What Redis pushes to a listening connection: from the bytes of one read to the events in it, handed on together.

Nearly all events say nothing that concerns delivery but their name, id and time. These become an `Arrival` each,
without objects in between, and all that one read brings in a row are handed on in one call. Whatever else comes (an
event with an exception, a change of members, a command, an answer to SUBSCRIBE) goes the general way, in its place
between them.
The reading itself is optional code in C (`native/pushes.c`); without it the same is read by hiredis and in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import hiredis
from sharedjox_contracts.publication import Header, MalformedPublicationError, decode_publication

from sharedjox_gateway.hub.channel import Arrival
from sharedjox_gateway.protocol.websocket import encode_frame

from .resp import Reply, ReplyHandler

MAX_REST: Final = 64 * 1024
"""A message of which more than this has come and more is to come is left to hiredis, which does not begin anew."""
_BEGINNINGS: Final = (b"*3\r\n$7\r\nmessage\r\n", b"*3\r\n$8\r\nsmessage\r\n")
_KINDS: Final = (b"message", b"smessage")


class Targets(Protocol):
    """What was named as the target of each topic: a dict, or what the code in C has in its place."""

    def __setitem__(self, topic: bytes, target: Any, /) -> None:
        """Name the target of a topic."""

    def get(self, topic: bytes, /) -> Any:
        """The target, or None."""

    def pop(self, topic: bytes, otherwise: Any, /) -> Any:
        """Forget a topic; returns its target, or `otherwise`."""


ReadMessages = Callable[[bytes, int, Targets], tuple[list[Arrival], int, Reply | None]]


class _NativeModule(Protocol):
    Targets: type[Targets]
    read_messages: ReadMessages


def _native() -> _NativeModule | None:
    try:
        from . import _pushes  # type: ignore[attr-defined]  # built where a compiler is
    except ImportError:
        return None
    return cast("_NativeModule", _pushes)


class PushReader:
    """Call `feed` with what was read. `arrived` and `on_reply` hear of everything in the order in which it came."""

    def __init__(self, targets: Targets, arrived: Callable[[list[Arrival]], None], on_reply: ReplyHandler) -> None:
        self._targets = targets
        self._arrived = arrived
        self._on_reply = on_reply
        self._reader = hiredis.Reader()

    def feed(self, data: bytes) -> None:
        """Take what was read. Raises: hiredis.ProtocolError."""
        self._reader.feed(data)
        gets = self._reader.gets
        arrivals: list[Arrival] = []
        while (reply := gets()) is not False:
            arrival = self._arrival(reply)
            if arrival is not None:
                arrivals.append(arrival)
                continue
            if arrivals:
                self._arrived(arrivals)
                arrivals = []
            self._on_reply(reply)
        if arrivals:
            self._arrived(arrivals)

    def _arrival(self, reply: Reply) -> Arrival | None:
        if type(reply) is not list or len(reply) != 3 or reply[0] not in _KINDS:
            return None
        target = self._targets.get(reply[1])
        if target is None:
            return None
        try:
            offset, epoch, header, frame = _parts(reply[2])
        except MalformedPublicationError:
            return None  # whoever gets it says so
        if header.except_socket_id or header.traceparent or header.presence:
            return None
        return target, offset, epoch, header.event, header.event_id, header.committed_at_us, encode_frame(frame)


def _parts(message: bytes) -> tuple[int, str, Header, bytes]:
    publication = decode_publication(message)
    return publication.offset, publication.epoch, publication.header, publication.frame


class NativePushReader(PushReader):
    """The same by the code in C, which leaves to hiredis what is no pub/sub message."""

    def __init__(
        self,
        read_messages: ReadMessages,
        targets: Targets,
        arrived: Callable[[list[Arrival]], None],
        on_reply: ReplyHandler,
    ) -> None:
        super().__init__(targets, arrived, on_reply)
        self._read_messages = read_messages
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """See `PushReader.feed`."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not self._reader.has_data():
            data = self._take(data)
            if not data:
                return
            if len(data) <= MAX_REST and data.startswith(tuple(whole[: len(data)] for whole in _BEGINNINGS)):
                self._rest = data
                return
        super().feed(data)

    def _take(self, data: bytes) -> bytes:
        """Take the messages in front; returns what does not belong to one, or to one that is not here whole."""
        end = 0
        while True:
            arrivals, end, other = self._read_messages(data, end, self._targets)
            if arrivals:
                self._arrived(arrivals)
            if other is None:
                return data[end:]
            self._on_reply(other)


def make_targets(*, use_native: bool = True) -> Targets:
    """No targets yet."""
    native = _native() if use_native else None
    return {} if native is None else native.Targets()


def make_push_reader(targets: Targets, arrived: Callable[[list[Arrival]], None], on_reply: ReplyHandler) -> PushReader:
    """The reader for one connection: in C when `targets` are."""
    native = _native()
    if native is None or not isinstance(targets, native.Targets):
        return PushReader(targets, arrived, on_reply)
    return NativePushReader(native.read_messages, targets, arrived, on_reply)
