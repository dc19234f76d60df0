"""A client of the Pusher HTTP API that signs, and that can get every part of it wrong on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sharedjox_contracts.signatures import body_md5, request_string, sign

from .gateway import APP, GatewayNode, TestApp
from .polling import scaled


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What came back, exactly."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Signed:
    """A request before it is sent: `target` as on the request line."""

    method: str
    target: str
    body: bytes

    def encode(self, *headers: str) -> bytes:
        """The whole request; `headers` are further lines."""
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: gateway", *headers]
        if self.body or self.method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def sign_request(
    method: str,
    path: str,
    body: bytes | Any = b"",
    *,
    app: TestApp = APP,
    query: Mapping[str, str] | None = None,
    signed_path: str | None = None,
    **changed: str | None,
) -> Signed:
    """A signed request. `path` begins behind `/apps/{id}` unless it begins with `/apps/`, `/users/` or `//`.

    `changed` replaces signed parameters (None leaves one out); `auth_signature` replaces the result.
    """
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if path.startswith("//"):
        path = path[1:]
    elif not path.startswith(("/apps/", "/users/")):
        path = f"/apps/{app.id}{path}"
    parameters: dict[str, str | None] = {
        "auth_key": app.key,
        "auth_timestamp": str(int(time.time())),
        "auth_version": "1.0",
        **(query or {}),
    }
    if body:
        parameters["body_md5"] = body_md5(body)
    signature = changed.pop("auth_signature", None)
    parameters |= changed
    sent = {name: value for name, value in parameters.items() if value is not None}
    if signature is None:
        signature = sign(app.secret, request_string(method, signed_path or path, sent))
    return Signed(method, f"{path}?{urlencode({**sent, 'auth_signature': signature})}", body)


class ApiConnection:
    """One TCP connection on which requests are sent and answers read, one by one or pipelined."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):  # whoever was refused early sees it in the answer
            await self.writer.drain()

    async def answer(self, *, without_body: bool = False) -> ApiAnswer:
        """Read one answer; `without_body` for one to a HEAD request."""
        async with asyncio.timeout(scaled(10)):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            size = 0 if without_body or status.split()[1] == "100" else int(headers["content-length"])
            return ApiAnswer(int(status.split()[1]), headers, await self.reader.readexactly(size))

    async def ended(self) -> bytes:
        """Wait for the server to close; returns what it sent before."""
        async with asyncio.timeout(scaled(10)):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def close(self) -> None:
        """Close, whatever the server did."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def open_connection(node: GatewayNode) -> ApiConnection:
    """A connection to one gateway."""
    return ApiConnection(*await asyncio.open_connection("127.0.0.1", node.port, limit=4 * 1024 * 1024))


async def send_request(node: GatewayNode, request: Signed, *headers: str) -> ApiAnswer:
    """Send one signed request on a connection of its own."""
    connection = await open_connection(node)
    try:
        await connection.send(request.encode(*headers))
        return await connection.answer(without_body=request.method == "HEAD")
    finally:
        await connection.close()


async def call(node: GatewayNode, method: str, path: str, body: bytes | Any = b"", **options: Any) -> ApiAnswer:
    """Sign and send; see `sign_request`."""
    return await send_request(node, sign_request(method, path, body, **options))


async def trigger(node: GatewayNode, channels: str | list[str], name: str, data: str = "{}", **more: Any) -> ApiAnswer:
    """`POST /events`; `app` is an option of the request, the rest are members of the body."""
    app = more.pop("app", APP)
    listed = [channels] if isinstance(channels, str) else channels
    return await call(node, "POST", "/events", {"name": name, "channels": listed, "data": data, **more}, app=app)
