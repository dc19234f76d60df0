"""Clients made of bytes leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest

from tests.support.polling import eventually, scaled
from tests.support.raw_websocket import stuck_reader


class SlowServer:
    """Answers the first connections with a line, lets the others wait, and knows who is still there."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.came = 0
        self.left = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        if self.came <= self.answers:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(1024):
                continue
        self.left += 1
        writer.close()


async def stuck_readers(port: int) -> None:
    """Three come, one after the other, and stay."""
    async with contextlib.AsyncExitStack() as readers:
        for _ in range(3):
            await readers.enter_async_context(stuck_reader(port, "firehose"))
        await asyncio.Event().wait()


@pytest.mark.parametrize("answers", [0, 1, 2, 3])
async def test_all_are_gone_when_they_are_cancelled_while_they_come(answers: int) -> None:
    """One that is only collected fails this test, or a later one: it warns that it was not closed."""
    slow = SlowServer(answers)
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    async with server:
        coming = asyncio.create_task(stuck_readers(server.sockets[0].getsockname()[1]))
        expected = min(answers + 1, 3)
        await eventually(lambda: slow.came == expected, what="the last that may come is there")
        coming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(coming, scaled(5))
        await eventually(lambda: slow.left == expected, what="all have left")
        gc.collect()
