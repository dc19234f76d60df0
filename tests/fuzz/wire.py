"""One TCP connection to the gateway, from an address of its own, and what came back on it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

_URI: Final = parse_uri("ws://gateway/")
_HEAD_END: Final = b"\r\n\r\n"


class Wire:
    """Use as `async with`; leaving it drops the connection without a word, as networks do.

    A plain socket: transports give up reading as soon as a write fails, and the answer to what was sent before would be
    lost. Waiting has no limit of its own: the caller has one for the whole case.
    """

    def __init__(self, port: int, dice: random.Random) -> None:
        self._port = port
        # 28,000 ports to one address would be used up by connections that still rest in TIME_WAIT.
        self._address = f"127.{dice.randrange(1, 250)}.{dice.randrange(250)}.{dice.randrange(1, 250)}"
        self._socket: socket.socket
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._is_over = False
        self.was_reset = False
        """Whether the end was RST: what the server sent before it may be lost."""

    async def __aenter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.bind((self._address, 0))
        await self._loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    async def _more(self) -> bool:
        """Wait until something arrived behind what was taken; False at the end."""
        while not self._received and not self._is_over:
            try:
                data = await self._loop.sock_recv(self._socket, 65536)
            except ConnectionError:
                self.was_reset, data = True, b""
            self._received += data
            self._is_over = not data
        return bool(self._received)

    async def send(self, parts: Sequence[bytes]) -> None:
        """Send parts, each as a write of its own. The server may have closed already: its answer says why."""
        try:
            for part in parts:
                await self._loop.sock_sendall(self._socket, part)
                await asyncio.sleep(0)
        except ConnectionError:
            self.was_reset = True

    def finish(self) -> None:
        """Say that nothing more will come (FIN), still reading."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def head(self) -> bytes:
        """The head of the answer; empty when the connection ended before it."""
        held = b""
        while _HEAD_END not in held:
            if not await self._more():
                return b""
            held += self._take()
        head, _, rest = held.partition(_HEAD_END)
        self._received[:0] = rest
        return head + _HEAD_END

    async def some(self) -> bytes:
        """What there is next; empty at the end."""
        return self._take() if await self._more() else b""

    def _take(self) -> bytes:
        taken = bytes(self._received)
        self._received.clear()
        return taken

    async def frames(self, *, limit: int | None = None) -> list[Frame]:
        """The server's frames up to its close frame, the end, or until there are `limit` of them.

        Raises: Exception of the other implementation when it does not take what the server sent.
        """
        protocol = ClientProtocol(_URI, state=OPEN, max_size=None)
        found: list[Frame] = []
        while limit is None or len(found) < limit:
            data = await self.some()
            if not data:
                break
            protocol.receive_data(data)
            found += [event for event in protocol.events_received() if isinstance(event, Frame)]
            if protocol.parser_exc is not None:
                raise protocol.parser_exc
            if found and found[-1].opcode is Opcode.CLOSE:
                break
        return found


def close_code(frames: Sequence[Frame]) -> int | None:
    """The code of the close frame at the end, 1005 for one without, None when there is none."""
    if not frames or frames[-1].opcode is not Opcode.CLOSE:
        return None
    payload = bytes(frames[-1].data)
    return int.from_bytes(payload[:2], "big") if payload else 1005


def in_pieces(dice: random.Random, data: bytes) -> list[bytes]:
    """Cut into one to four parts, anywhere."""
    places = sorted(dice.randint(0, len(data)) for _ in range(dice.randrange(4)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]
