"""How one write reaches many connections: through their transports, or by the optional send loop in C.

The loop costs one system call per connection and nothing else; it earns 15-40 % of fan-out throughput
(docs/performance.md). It is used when it was built (`native/sending.c`) and not switched off; the results are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, cast

from sharedjox_gateway.hub.channel import Member
from sharedjox_gateway.hub.fanout import SendEach, offer_each, offer_to_each
from sharedjox_gateway.hub.walk import Send

NO_DESCRIPTOR: Final = -1
"""Of a connection that must be written to through its transport."""
UNASKED: Final = -2
"""Of a connection whose transport was not asked yet: the answer costs 100 bytes, which most never need."""
WORTH_IT: Final = 16
"""Members from which on the loop in C is the quicker way."""

LONG_SLICE: Final = 4096
"""Members served per loop step where the loop in C stops by itself as soon as something else waits. Only timers cannot
stop it, and come late by as long as that takes: up to some 20 ms."""

SendMany = Callable[[list[Member], int, int, bytes, int], tuple[int, list[tuple[int, int]]]]
SendPieces = Callable[[list[Member], list[bytes]], list[tuple[int, int]]]


class _NativeModule(Protocol):
    send_many: SendMany
    send_each: SendPieces
    SocketHolder: type


def _native() -> _NativeModule | None:
    try:
        from . import _sending  # type: ignore[attr-defined]  # built where a compiler is
    except ImportError:
        return None
    return cast("_NativeModule", _sending)


class _PlainHolder:
    """See `SocketHolder`."""

    __slots__ = ("fd",)


if TYPE_CHECKING:

    class SocketHolder:
        """A member that has a socket, `fd`, while the fan-out may write to it directly; otherwise that is negative.

        The loop in C takes the number from where its own class keeps it, and has no other members' sockets.
        """

        __slots__ = ("fd",)
        fd: int

else:
    SocketHolder = _PlainHolder if _native() is None else _native().SocketHolder


def choose_send(*, use_native: bool = True, loop: asyncio.AbstractEventLoop | None = None) -> tuple[Send, int]:
    """The way for the hub to write to a channel's members, and how many of them in a step while no other channel waits.

    The latter is 0, for no more than usual, where the loop in C could not be cut short by what else `loop` has to do.
    """
    native = _native() if use_native else None
    if native is None:
        return offer_to_each, 0
    loop_fd = _descriptor_of_loop(loop)
    return native_send(native.send_many, loop_fd), 0 if loop_fd == NO_DESCRIPTOR else LONG_SLICE


def _descriptor_of_loop(loop: asyncio.AbstractEventLoop | None) -> int:
    """What is readable as soon as the loop has something to do; only uvloop tells."""
    backend = getattr(loop, "_get_backend_id", None)
    return NO_DESCRIPTOR if backend is None else int(backend())


def choose_send_each(*, use_native: bool = True) -> SendEach:
    """The way for the hub to write to the members of several small channels."""
    native = _native() if use_native else None
    return native_send_each(native.send_each) if native is not None else offer_each


def native_send(send_many: SendMany, loop_fd: int = NO_DESCRIPTOR, *, worth_it: int = WORTH_IT) -> Send:
    """Sends by `send_many`; what a socket does not take at once goes on through its transport, in order."""

    def send(members: list[Member], start: int, stop: int, data: bytes) -> int:
        if stop - start < worth_it:
            return offer_to_each(members, start, stop, data)
        end, unsent = send_many(members, start, stop, data, loop_fd)
        for index, sent in unsent:
            _go_on(members[index], data, sent)
        return end

    return send


def native_send_each(send_each: SendPieces, *, worth_it: int = 2) -> SendEach:
    """Sends by `send_each`. The system calls stand side by side, so who receives is woken by the first of them only."""

    def send(members: list[Member], pieces: list[bytes]) -> None:
        if len(members) < worth_it:
            offer_each(members, pieces)
            return
        for index, sent in send_each(members, pieces):
            _go_on(members[index], pieces[index], sent)

    return send


def _go_on(member: Member, data: bytes, sent: int) -> None:
    """What a socket did not take, or was not asked to take yet, is the transport's."""
    member.offer(memoryview(data)[sent:] if sent else data)
    if isinstance(member, SocketHolder) and member.fd == UNASKED:
        ask_descriptor(cast("_Socketlike", member))


class _Socketlike(Protocol):
    fd: int
    transport: asyncio.Transport


def ask_descriptor(member: _Socketlike) -> None:
    """Learn the socket to which bytes may go directly: none under TLS, where the transport encrypts them."""
    transport = member.transport
    fileno = getattr(transport, "fileno", None)  # a transport of our own
    if fileno is not None:
        member.fd = fileno()
        return
    socket = None if transport.get_extra_info("ssl_object") is not None else transport.get_extra_info("socket")
    member.fd = NO_DESCRIPTOR if socket is None else int(socket.fileno())
