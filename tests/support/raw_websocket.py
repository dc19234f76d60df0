"""WebSocket clients as bytes, for what no library lets one do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from .gateway import APP
from .tcp_client import dialled

UPGRADE = (
    f"GET /app/{APP.key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
STUCK_LIMIT_BYTES = 1024


def client_frame(event: str, data: Any) -> bytes:
    """One short message as a client sends it; the mask of zeros leaves it legible."""
    message = json.dumps({"event": event, "data": data}).encode()
    assert len(message) < 126
    return bytes((0x81, 0x80 | len(message))) + bytes(4) + message


@contextlib.asynccontextmanager
async def stuck_reader(port: int, channel: str) -> AsyncIterator[None]:
    """Somebody who subscribes to a public channel and then never reads again, until the block ends."""
    async with dialled(port, limit=STUCK_LIMIT_BYTES) as (reader, writer):
        writer.write(UPGRADE + client_frame("pusher:subscribe", {"channel": channel}))
        await reader.readline()
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        yield
