"""Transports of our own: what they do for a protocol, beside the event loop's in the same tests."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
from sharedjox_gateway.connection.sockets import Acceptor, own_transports_work

from tests.support.polling import eventually, never, scaled

WAYS = ["loop", "own"] if own_transports_work() else ["loop"]


class Recorder(asyncio.Protocol):
    """Notes what it is told. `on_data` and `on_end` say what it does about it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.received = b""
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.transport: asyncio.Transport
        self.keeps_open = False
        self.on_data: Callable[[Recorder, bytes], None] = lambda _self, _data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=0)
        self.place.protocols.append(self)

    def data_received(self, data: bytes) -> None:
        assert "connection_lost" not in self.calls
        self.received += data
        self.on_data(self, data)

    def eof_received(self) -> bool:
        self.calls.append("eof_received")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.calls.append("pause_writing")

    def resume_writing(self) -> None:
        self.calls.append("resume_writing")

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append("connection_lost")
        self.error = error


class Place:
    """Listens in one of the two ways; `connect` gives both ends of a connection."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.protocols: list[Recorder] = []
        self.failures: list[dict[str, object]] = []
        self.clients: list[socket.socket] = []
        self.acceptor: Acceptor | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self.failures.append(context))
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        listener.setblocking(False)
        self.address = listener.getsockname()
        if self.way == "loop":
            self.server = await loop.create_server(lambda: Recorder(self), sock=listener)
        else:
            self.acceptor = Acceptor(self.accepted)
            self.acceptor.listen(listener)

    def accepted(self, transport: asyncio.Transport, data: bytes | None) -> None:
        protocol = Recorder(self)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data is not None:
            protocol.data_received(data)

    async def connect(self, *, receive_bytes: int = 0) -> tuple[socket.socket, Recorder]:
        count = len(self.protocols)
        client = socket.socket()
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.connect(self.address)
        client.setblocking(False)
        self.clients.append(client)
        await eventually(lambda: len(self.protocols) > count)
        return client, self.protocols[-1]

    async def close(self) -> None:
        for client in self.clients:
            client.close()
        for protocol in self.protocols:
            if "connection_lost" not in protocol.calls:
                protocol.transport.abort()
        await eventually(lambda: all("connection_lost" in protocol.calls for protocol in self.protocols))
        if self.acceptor is not None:
            self.acceptor.close()
        else:
            self.server.close()
            await self.server.wait_closed()


@pytest.fixture(params=WAYS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    made = Place(request.param)
    await made.open()
    yield made
    await made.close()


async def read(client: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or what came until the end."""
    data = bytearray()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(scaled(10)):
        while len(data) < size and (more := await loop.sock_recv(client, min(size - len(data), 65536))):
            data += more
    return bytes(data)


# --- closing ------------------------------------------------------------------------------------------------------


async def test_after_abort_the_protocol_hears_nothing_but_the_end_once(place: Place) -> None:
    client, protocol = await place.connect()
    client.send(b"late")
    protocol.transport.abort()
    protocol.transport.abort()
    protocol.transport.write(b"never")
    assert protocol.calls == []  # never from within the call
    await eventually(lambda: protocol.calls == ["connection_lost"])
    assert protocol.received == b""
    assert protocol.error is None
    assert protocol.transport.is_closing()


async def test_who_is_closed_by_somebody_elses_message_gets_none_that_came_with_it(place: Place) -> None:
    (first, one), (second, two) = await place.connect(), await place.connect()
    one.on_data = lambda _self, _data: two.transport.abort()
    two.on_data = lambda _self, _data: one.transport.abort()
    first.send(b"1")
    second.send(b"2")
    await eventually(lambda: "connection_lost" in one.calls + two.calls)
    await eventually(lambda: not (one.received and two.received))
    assert one.received + two.received in (b"1", b"2")


async def test_a_connection_that_closes_sends_what_waits_first(place: Place) -> None:
    client, protocol = await place.connect(receive_bytes=4096)
    data = random.randbytes(100_000)
    count = 0
    while not protocol.calls:
        protocol.transport.write(data)
        count += 1
    protocol.transport.write(b"last")
    protocol.transport.close()
    assert await read(client, count * len(data) + 5) == count * data + b"last"
    await eventually(lambda: protocol.calls[-1] == "connection_lost")
    assert protocol.error is None


async def test_an_answer_and_a_close_in_one_step_both_arrive(place: Place) -> None:
    client, protocol = await place.connect()

    def answer(self: Recorder, _data: bytes) -> None:
        self.transport.write(b"bye")
        self.transport.close()

    protocol.on_data = answer
    client.send(b"?")
    assert await read(client, 10) == b"bye"
    await eventually(lambda: protocol.calls == ["connection_lost"])


async def test_a_reset_ends_the_connection_with_its_reason(place: Place) -> None:
    client, protocol = await place.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    await eventually(lambda: protocol.calls == ["connection_lost"])
    assert isinstance(protocol.error, ConnectionResetError)


async def test_a_protocol_that_raises_loses_its_connection_and_harms_nobody_else(place: Place) -> None:
    (bad, one), (good, two) = await place.connect(), await place.connect()

    def fail(_self: Recorder, _data: bytes) -> None:
        msg = "on purpose"
        raise LookupError(msg)

    one.on_data = fail
    two.on_data = lambda self, data: self.transport.write(data)
    bad.send(b"x")
    good.send(b"y")
    assert await read(good, 1) == b"y"
    await eventually(lambda: one.calls == ["connection_lost"])
    assert [type(failure["exception"]) for failure in place.failures] == [LookupError]
    assert two.calls == []


# --- ends of streams -------------------------------------------------------------------------------------------------


async def test_a_peer_that_sends_no_more_ends_the_connection(place: Place) -> None:
    client, protocol = await place.connect()
    client.send(b"all")
    client.shutdown(socket.SHUT_WR)
    await eventually(lambda: protocol.calls == ["eof_received", "connection_lost"])
    assert protocol.received == b"all"
    assert protocol.error is None


async def test_a_protocol_may_go_on_sending_to_a_peer_that_sends_no_more(place: Place) -> None:
    client, protocol = await place.connect()
    protocol.keeps_open = True
    client.shutdown(socket.SHUT_WR)
    await eventually(lambda: protocol.calls == ["eof_received"])
    protocol.transport.write(b"answer")
    assert await read(client, 6) == b"answer"
    protocol.transport.close()
    assert await read(client, 1) == b""
    await eventually(lambda: protocol.calls == ["eof_received", "connection_lost"])


async def test_our_end_of_the_stream_comes_behind_what_waits_and_reading_goes_on(place: Place) -> None:
    client, protocol = await place.connect(receive_bytes=4096)
    data = random.randbytes(1_000_000)
    protocol.transport.write(data)
    assert protocol.transport.can_write_eof()
    protocol.transport.write_eof()
    with pytest.raises(RuntimeError):
        protocol.transport.write(b"x")
    assert await read(client, len(data) + 1) == data
    client.send(b"rest")
    await eventually(lambda: protocol.received == b"rest")
    assert "connection_lost" not in protocol.calls


# --- flow ------------------------------------------------------------------------------------------------------------


async def test_writing_pauses_with_the_first_byte_that_waits_and_resumes_with_the_last(place: Place) -> None:
    client, protocol = await place.connect(receive_bytes=4096)
    sent = 0
    while not protocol.calls:
        protocol.transport.write(b"x" * 1000)
        sent += 1000
    assert protocol.calls == ["pause_writing"]
    waiting = protocol.transport.get_write_buffer_size()
    assert 0 < waiting <= 1000
    protocol.transport.write(b"y" * 10)
    assert protocol.transport.get_write_buffer_size() == waiting + 10
    assert await read(client, sent + 10) == b"x" * sent + b"y" * 10
    await eventually(lambda: protocol.calls == ["pause_writing", "resume_writing"])
    assert protocol.transport.get_write_buffer_size() == 0


async def test_while_reading_pauses_nothing_comes(place: Place) -> None:
    client, protocol = await place.connect()
    protocol.transport.pause_reading()
    client.send(b"1")
    await never(lambda: protocol.received, 0.1)
    protocol.transport.resume_reading()
    await eventually(lambda: protocol.received == b"1")


@pytest.mark.parametrize("seed", range(6))
async def test_all_bytes_arrive_in_order_whatever_their_sizes_and_whenever_they_are_written(
    place: Place, seed: int
) -> None:
    dice = random.Random(seed)
    client, protocol = await place.connect(receive_bytes=8192)
    expected = bytearray()

    def write_some() -> None:
        for _ in range(dice.randrange(4)):
            data = dice.randbytes(dice.choice((1, 100, 3000, 15_000, 17_000, 200_000)))
            expected.extend(data)
            protocol.transport.write(dice.choice((data, memoryview(data), bytearray(data))))

    protocol.on_data = lambda _self, _data: write_some()  # within a turn; below between two of them
    received = bytearray()
    for _ in range(60):
        client.send(b"go")
        write_some()
        await asyncio.sleep(0)
        if expected:
            received += await read(client, min(dice.randrange(1, 300_000), len(expected) - len(received)))
    received += await read(client, len(expected) - len(received))
    await eventually(lambda: len(protocol.received) == 120)
    received += await read(client, len(expected) - len(received))
    assert received == expected


async def test_what_comes_in_is_whole_and_in_order(place: Place) -> None:
    client, protocol = await place.connect()
    data = random.randbytes(3_000_000)
    await asyncio.get_running_loop().sock_sendall(client, data)
    await eventually(lambda: len(protocol.received) == len(data))
    assert protocol.received == data


async def test_another_protocol_takes_over_in_the_middle_of_a_message(place: Place) -> None:
    client, protocol = await place.connect()
    successor = Recorder(place)

    def hand_over(self: Recorder, _data: bytes) -> None:
        self.transport.set_protocol(successor)
        successor.connection_made(self.transport)
        place.protocols.remove(self)

    protocol.on_data = hand_over
    client.send(b"1")
    await eventually(lambda: successor in place.protocols)
    client.send(b"2")
    await eventually(lambda: successor.received == b"2")
    assert protocol.received == b"1"


# --- the socket ----------------------------------------------------------------------------------------------------


async def test_addresses_and_delays_are_those_of_the_socket(place: Place) -> None:
    client, protocol = await place.connect()
    info = protocol.transport.get_extra_info
    assert info("peername") == client.getsockname()
    assert info("sockname") == client.getpeername()
    assert info("ssl_object") is None
    assert info("unheard of", "otherwise") == "otherwise"
    found = info("socket")
    fd = found.fileno() if found is not None else cast("socket.socket", protocol.transport).fileno()
    with socket.socket(fileno=os.dup(fd)) as same:
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert not os.get_blocking(fd)
    assert not os.get_inheritable(fd)


async def test_connections_leave_neither_descriptors_nor_objects_behind(place: Place) -> None:
    await place.connect()
    before = len(os.listdir("/proc/self/fd"))
    ends = [await place.connect() for _ in range(50)]
    left = [weakref.ref(protocol) for _, protocol in ends]
    gc.disable()  # by their reference counts, that is
    try:
        for client, protocol in ends:
            client.close()
            place.clients.remove(client)
            await eventually(lambda ended=protocol: "connection_lost" in ended.calls)
            place.protocols.remove(protocol)
            del protocol.transport
        del ends, protocol
        await eventually(lambda: all(one() is None for one in left))
    finally:
        gc.enable()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_out_of_descriptors_clients_wait_and_are_served_when_there_are_some_again(place: Place) -> None:
    _, there = await place.connect()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket()
    place.clients.append(client)
    with socket.socket() as lowest_free:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free.fileno() + 1, limits[1]))
        try:
            client.connect(place.address)
            client.send(b"hello")
            await never(lambda: len(place.protocols) > 1, 0.2)
            place.clients[0].send(b"still served")
            await eventually(lambda: there.received == b"still served")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await eventually(lambda: len(place.protocols) > 1 and place.protocols[1].received == b"hello")


async def test_a_reset_is_noticed_after_a_pause_too(place: Place) -> None:
    client, protocol = await place.connect()
    protocol.transport.pause_reading()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    await asyncio.sleep(0)
    protocol.transport.resume_reading()
    await eventually(lambda: protocol.calls == ["connection_lost"])
    assert protocol.received == b""


async def test_nobody_is_accepted_any_more_once_listening_ends(place: Place) -> None:
    client, protocol = await place.connect()
    if place.acceptor is not None:
        place.acceptor.stop_listening()
    else:
        place.server.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(socket.create_connection, place.address, scaled(5))
    client.send(b"still served")
    await eventually(lambda: protocol.received == b"still served")
