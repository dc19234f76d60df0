"""The proxy of the fault tests does what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.polling import eventually, never
from tests.support.tcp_client import dialled
from tests.support.tcp_proxy import TcpProxy, tcp_proxy


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(1024):
            writer.write(chunk)
            await writer.drain()
    except ConnectionResetError:
        pass
    finally:
        writer.transport.abort()


@pytest.fixture
async def proxy() -> AsyncIterator[TcpProxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, tcp_proxy(server.sockets[0].getsockname()[1]) as running:
        yield running


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    return await asyncio.wait_for(reader.read(1024), 5)


async def test_refuses_when_told(proxy: TcpProxy) -> None:
    proxy.refusing = True
    async with dialled(proxy.port) as (reader, _):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert proxy.accepted == 0


async def test_forwards_and_passes_the_end_on(proxy: TcpProxy) -> None:
    async with dialled(proxy.port) as (reader, writer):
        assert await ask(reader, writer, b"hello") == b"hello"
        writer.write_eof()
        assert await reader.read() == b""


async def test_delays_in_both_directions(proxy: TcpProxy) -> None:
    proxy.delay_seconds = 0.05
    async with dialled(proxy.port) as (reader, writer):
        started = time.monotonic()
        assert await ask(reader, writer, b"hello") == b"hello"
        assert time.monotonic() - started >= 0.1


async def test_cut_resets_the_connection(proxy: TcpProxy) -> None:
    async with dialled(proxy.port) as (reader, writer):
        await ask(reader, writer, b"hello")
        await proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert proxy.connections == 0


async def test_half_open_swallows_and_keeps_the_connection(proxy: TcpProxy) -> None:
    async with dialled(proxy.port) as (reader, writer):
        await ask(reader, writer, b"hello")
        proxy.half_open = True
        forwarded = proxy.forwarded_bytes
        writer.write(b"lost")
        await never(lambda: proxy.forwarded_bytes != forwarded or reader.at_eof(), 0.1)
        assert proxy.connections == 1


async def test_pause_holds_and_resume_lets_go(proxy: TcpProxy) -> None:
    async with dialled(proxy.port) as (reader, writer):
        await ask(reader, writer, b"hello")
        proxy.pause()
        answer = asyncio.create_task(ask(reader, writer, b"later"))
        await never(answer.done, 0.1)
        proxy.resume()
        await eventually(answer.done)
        assert answer.result() == b"later"
