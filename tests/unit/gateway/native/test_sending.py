"""Writing to many sockets at once: the same bytes in the same order, by the loop in C and through transports alike."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from sharedjox_gateway.apps import App
from sharedjox_gateway.connection import sending
from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.hub.channel import Member
from sharedjox_gateway.hub.fanout import SendEach, offer_to_each
from sharedjox_gateway.hub.walk import Send
from sharedjox_gateway.protocol.websocket import read_single_text

from tests.support.polling import eventually, scaled

APP = App(id="1", key="key", secret="secret")


SendToAll = Callable[[Sequence[Member], bytes], None]


def as_pieces(send_each: SendEach) -> SendToAll:
    return lambda members, data: send_each([*members], [data] * len(members))


def to_all(send: Send) -> SendToAll:
    def send_to_all(members: Sequence[Member], data: bytes) -> None:
        assert send([*members], 0, len(members), data) == len(members)

    return send_to_all


def implementations() -> dict[str, SendToAll]:
    """All that this machine has; the loops in C from the first member on."""
    found: dict[str, SendToAll] = {"transports": to_all(sending.choose_send(use_native=False)[0])}
    found["transports, pieces"] = as_pieces(sending.choose_send_each(use_native=False))
    native = sending._native()
    if native is not None:
        found["native"] = to_all(sending.native_send(native.send_many, worth_it=1))
        found["native, pieces"] = as_pieces(sending.native_send_each(native.send_each, worth_it=1))
    return found


IMPLEMENTATIONS = implementations()


class Owner:
    """Stands for the gateway."""

    max_message_bytes = 65536
    max_buffer_bytes = 64 * 1024 * 1024
    read_text = staticmethod(read_single_text)

    def __init__(self) -> None:
        self.slow: list[Connection] = []
        self.gone: list[Connection] = []

    def received(self, connection: Connection, payload: bytes) -> None:
        pass

    def ponged(self, connection: Connection, payload: bytes) -> None:
        pass

    def ended(self, connection: Connection, code: int) -> None:
        pass

    def closing(self, connection: Connection) -> None:
        pass

    def lost(self, connection: Connection) -> None:
        self.gone.append(connection)

    def overflowed(self, connection: Connection) -> None:
        self.slow.append(connection)


class Peers:
    """Real sockets with our connection at one end and plain reading at the other."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.connections: list[Connection] = []
        self.sockets: list[socket.socket] = []

    async def add(self) -> Connection:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        theirs.setblocking(False)
        holder: list[Connection] = []

        class Greeter(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                stream = cast("asyncio.Transport", transport)
                connection = Connection(peers_owner, APP, f"{len(holder)}.1", 7, stream)
                stream.set_protocol(connection)
                connection.connection_made(transport)
                holder.append(connection)

        peers_owner = self.owner
        await asyncio.get_running_loop().connect_accepted_socket(Greeter, ours)
        await eventually(lambda: holder)
        self.connections.append(holder[0])
        self.sockets.append(theirs)
        return holder[0]

    def read(self, index: int, limit: int = 1 << 20) -> bytes:
        try:
            return self.sockets[index].recv(limit)
        except BlockingIOError:
            return b""

    async def close(self) -> None:
        for connection in self.connections:
            connection.abort()
        await eventually(lambda: len(self.owner.gone) == len(self.connections))
        for each in self.sockets:
            each.close()


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    made = Peers()
    yield made
    await made.close()


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def send(request: pytest.FixtureRequest) -> SendToAll:
    return IMPLEMENTATIONS[request.param]


async def test_a_closed_connection_gets_nothing_even_when_its_descriptor_is_somebody_elses(
    peers: Peers, send: SendToAll
) -> None:
    old = await peers.add()
    send([old], b"first")
    send([old], b"second")  # by now its descriptor is known
    old_fd = old.fd
    old.abort()
    await eventually(lambda: old in peers.owner.gone)
    assert old.fd == sending.NO_DESCRIPTOR
    successor = await peers.add()
    send([old, successor], b"x")
    assert peers.read(0) == b"firstsecond"
    assert peers.read(1) == b"x"
    assert old_fd != sending.NO_DESCRIPTOR


async def test_a_connection_that_closes_gets_its_close_frame_and_nothing_behind_it(
    peers: Peers, send: SendToAll
) -> None:
    connection = await peers.add()
    send([connection], b"last")
    connection.close(1000, "bye")
    send([connection], b"never")
    assert peers.read(0) == b"last" + b"\x88\x05\x03\xe8bye"


async def test_a_reset_by_the_peer_harms_nobody_else(peers: Peers, send: SendToAll) -> None:
    gone, there = await peers.add(), await peers.add()
    send([gone, there], b"1")
    peers.sockets[0].close()
    send([gone, there], b"2")
    send([gone, there], b"3")
    await eventually(lambda: gone in peers.owner.gone)
    assert peers.read(1) == b"123"


async def test_what_is_queued_is_never_overtaken(peers: Peers, send: SendToAll) -> None:
    connection = await peers.add()
    big = b"a" * 1_000_000
    send([connection], big)
    assert connection.fd == sending.NO_DESCRIPTOR
    send([connection], b"b" * 10)
    connection.offer(b"c" * 10)
    send([connection], b"d" * 10)
    received = b""
    async with asyncio.timeout(scaled(5)):
        while len(received) < len(big) + 30:
            received += peers.read(0)
            await asyncio.sleep(0)
    assert received == big + b"b" * 10 + b"c" * 10 + b"d" * 10
    await eventually(lambda: connection.fd != sending.NO_DESCRIPTOR)
    send([connection], b"e")
    assert peers.read(0) == b"e"


async def test_what_did_not_go_whole_is_not_overtaken_by_what_follows_in_the_same_step(
    peers: Peers, send: SendToAll
) -> None:
    connection, other = await peers.add(), await peers.add()
    send([connection, other], b"x")  # by now their descriptors are known
    big = bytes(range(256)) * 200
    send([connection, other, connection, connection], big)
    received = b""
    async with asyncio.timeout(scaled(5)):
        while len(received) < 1 + 3 * len(big):
            received += peers.read(0)
            await asyncio.sleep(0)
    assert received == b"x" + 3 * big


async def test_each_gets_its_own_piece(peers: Peers) -> None:
    members = [await peers.add() for _ in range(3)]
    for use_native in (True, False):
        send_each = sending.choose_send_each(use_native=use_native)
        for _ in range(2):  # the second time with known descriptors
            send_each([*members, members[0]], [b"1", b"22", b"333", b"4"])
    assert [peers.read(index) for index in range(3)] == [b"14" * 4, b"22" * 4, b"333" * 4]


async def test_a_member_that_is_no_socket_is_offered_the_bytes(peers: Peers, send: SendToAll) -> None:
    class Recorder:
        socket_id = "1.1"

        def __init__(self) -> None:
            self.writes: list[bytes | memoryview] = []
            self.offer: Callable[[bytes | memoryview], object] = self.writes.append

    recorder, connection = Recorder(), await peers.add()
    send([recorder, connection, recorder], b"x")
    assert recorder.writes == [b"x", b"x"]
    assert peers.read(0) == b"x"


async def test_a_member_beyond_its_limit_is_closed_alone(peers: Peers, send: SendToAll) -> None:
    slow, quick = await peers.add(), await peers.add()
    peers.owner.max_buffer_bytes = 100_000
    for _ in range(8):
        send([slow, quick], b"x" * 50_000)
        taken = b""
        while (more := peers.read(1)) or len(taken) < 50_000:
            taken += more
            await asyncio.sleep(0)
        assert taken == b"x" * 50_000
    assert peers.owner.slow == [slow]
    assert not quick.is_closing


def test_under_tls_there_is_no_descriptor() -> None:
    class TlsTransport(asyncio.Transport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return object() if name == "ssl_object" else default

    class Holder:
        fd = sending.UNASKED
        transport: asyncio.Transport = TlsTransport()

    holder = Holder()
    sending.ask_descriptor(holder)
    assert holder.fd == sending.NO_DESCRIPTOR


class Counter:
    """A member that is no socket and counts what it is offered."""

    def __init__(self) -> None:
        self.socket_id = "1.1"
        self.writes: list[bytes | memoryview] = []
        self.offer: Callable[[bytes | memoryview], object] = self.writes.append


def test_a_long_slice_ends_early_when_the_loop_has_something_else_to_do() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_interrupted_slice())


async def _interrupted_slice() -> None:
    send, most = sending.choose_send(loop=asyncio.get_running_loop())
    members = [Counter() for _ in range(most)]
    assert send([*members], 0, most, b"1") == most  # nothing waits
    ours, theirs = socket.socketpair()
    arrived = asyncio.Event()
    asyncio.get_running_loop().add_reader(ours, arrived.set)
    await asyncio.sleep(0)  # the loop watches it now
    theirs.send(b"!")
    end = send([*members], 0, most, b"2")
    assert 0 < end < most
    assert [len(member.writes) for member in members] == [2] * end + [1] * (most - end)
    await arrived.wait()
    asyncio.get_running_loop().remove_reader(ours)
    ours.close()
    theirs.close()


def test_without_a_loop_that_tells_what_waits_slices_stay_short() -> None:
    loop = asyncio.SelectorEventLoop()
    assert sending.choose_send(loop=loop)[1] == 0
    assert sending.choose_send(use_native=False, loop=loop)[1] == 0
    loop.close()


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_every_stream_is_whole_and_in_order_however_slowly_it_is_read(
    name: str, loop: Callable[[], asyncio.AbstractEventLoop], seed: int
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_mixed_traffic(IMPLEMENTATIONS[name], random.Random(seed)))


async def _mixed_traffic(send: SendToAll, dice: random.Random) -> None:
    peers = Peers()
    for _ in range(3):
        await peers.add()
    expected, received = [bytearray() for _ in range(3)], [bytearray() for _ in range(3)]
    for number in range(60):
        chosen = [index for index in range(3) if dice.random() < 0.7]
        data = b"%d," % number * dice.choice((1, 50, 4000, 20000))
        for index in chosen:
            expected[index] += data
        (send if dice.random() < 0.7 else to_all(offer_to_each))([peers.connections[index] for index in chosen], data)
        reading = [index for index in range(3) if dice.random() < 0.4]
        for index in reading:
            received[index] += peers.read(index, dice.choice((10, 5000, 1 << 20)))
        if dice.random() < 0.5:
            await asyncio.sleep(0)
    async with asyncio.timeout(scaled(20)):
        while any(len(have) < len(wanted) for have, wanted in zip(received, expected, strict=True)):
            for index in range(3):
                received[index] += peers.read(index)
            await asyncio.sleep(0)
    assert received == expected
    await peers.close()
