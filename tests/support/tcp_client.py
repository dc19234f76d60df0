"""TCP connections of a test, each closed however its user leaves it.

`asyncio.open_connection` gives a writer that belongs to nobody: a user who is cancelled leaves it to the garbage
collector, which closes it and warns in whatever test runs then; and a connection of which only the reader is kept is
closed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

LIMIT_BYTES = 65536


@contextlib.asynccontextmanager
async def dialled(
    port: int, *, host: str = "127.0.0.1", limit: int = LIMIT_BYTES
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection; `limit` is how many unread bytes its reader takes before it stops reading.

    Leaving the block ends it without waiting for the other side: what was not sent by then is not sent.
    """
    reader, writer = await asyncio.open_connection(host, port, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
