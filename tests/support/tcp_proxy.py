"""A TCP proxy that misbehaves on request: delays, cuts, refuses, swallows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

from .polling import scaled

CHUNK_BYTES = 65536


class TcpProxy:
    """Forwards 127.0.0.1:`port` to a target; its attributes may be changed while connections run.

    `delay_seconds` holds every chunk back in both directions. `pause()` stops reading on both sides, so that buffers
    fill as with a stuck peer. `half_open` swallows what either side sends while both believe to be connected.
    `holds_ends` forwards what is sent and keeps back that a side has closed; `held_ends` counts how often. `refusing`
    closes new connections at once.
    """

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.target_host = target_host
        self.target_port = target_port
        self.port = 0
        self.delay_seconds = 0.0
        self.half_open = False
        self.holds_ends = False
        self.held_ends = 0
        self.refusing = False
        self.accepted = 0
        self.forwarded_bytes = 0
        self._running = asyncio.Event()
        self._running.set()
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> None:
        """Listen; `port` 0 takes a free one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        await self.cut()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    @property
    def connections(self) -> int:
        """Connections being forwarded now."""
        return len(self._links)

    def pause(self) -> None:
        """Read nothing from either side until `resume`."""
        self._running.clear()

    def resume(self) -> None:
        """Read again."""
        self._running.set()

    async def cut(self) -> None:
        """Reset every connection (RST, as after a crash of the peer's machine)."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.wait(links, timeout=scaled(5)) if links else None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self.refusing:
            _reset(writer)
            return
        self.accepted += 1
        self._links.add(task)
        try:
            await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            _reset(writer)
            self._links.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(self.target_host, self.target_port)
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._copy(reader, to_writer))
                directions.create_task(self._copy(to_reader, writer))
        except* OSError:
            pass
        finally:
            _reset(to_writer)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._running.wait()
            chunk = await reader.read(CHUNK_BYTES)
            await self._running.wait()
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if not chunk and (self.half_open or self.holds_ends):
                self.held_ends += 1
                await asyncio.Event().wait()
            if self.half_open:
                continue
            if not chunk:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            self.forwarded_bytes += len(chunk)
            writer.write(chunk)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def tcp_proxy(target_port: int) -> AsyncIterator[TcpProxy]:
    """A running proxy before 127.0.0.1:`target_port`."""
    proxy = TcpProxy(target_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
