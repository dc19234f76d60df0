"""The auth endpoints of an application's own back end, for clients that need one.

The bearer token says who somebody is: `7` is the user 7, `7:8,9` also watches the users 8 and 9. Everybody may join
anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from sharedjox_contracts.channels import channel_kind

from .gateway import APP, TestApp


@dataclass(slots=True)
class AuthEndpoint:
    """Answers `/broadcasting/auth` and `/broadcasting/user-auth`."""

    app: TestApp = APP
    port: int = 0
    gives_channel_data: bool = True
    """Without it, members of presence channels are who they signed in as."""
    master_key: bytes = b"0123456789abcdef0123456789abcdef"
    """Of encrypted channels: the back end's own, 32 bytes; the gateway never learns it."""
    asked: list[str] = field(default_factory=list)
    """The channels that were asked for, in order; `user` for sign-ins."""

    def answer(self, path: str, token: str, form: dict[str, str]) -> dict[str, Any]:
        """The JSON to answer."""
        user_id, _, watchlist = token.partition(":")
        user = {"name": f"User {user_id}"}
        if path.endswith("/user-auth"):
            self.asked.append("user")
            listed = watchlist.split(",") if watchlist else []
            user_data = json.dumps({"id": user_id, "user_info": user, "watchlist": listed})
            return {"auth": self.app.sign_user(form["socket_id"], user_data), "user_data": user_data}
        channel = form["channel_name"]
        self.asked.append(channel)
        if channel_kind(channel).is_presence and self.gives_channel_data:
            # As Laravel does it: the id is a number where it is one.
            member = {"user_id": int(user_id) if user_id.isdigit() else user_id, "user_info": user}
            channel_data = json.dumps(member)
            return {
                "auth": self.app.sign_channel(form["socket_id"], channel, channel_data),
                "channel_data": channel_data,
            }
        signed = {"auth": self.app.sign_channel(form["socket_id"], channel)}
        if channel_kind(channel).is_encrypted:
            secret = hashlib.sha256(channel.encode() + self.master_key).digest()
            signed["shared_secret"] = b64encode(secret).decode()
        return signed

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request per connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            token = headers.get("authorization", "").removeprefix("Bearer ")
            answer = json.dumps(self.answer(first.split(" ")[1], token, form)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer)
            )
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def auth_endpoint(app: TestApp = APP) -> AsyncIterator[AuthEndpoint]:
    """An endpoint on a free port of 127.0.0.1."""
    endpoint = AuthEndpoint(app)
    server = await asyncio.start_server(endpoint.handle, "127.0.0.1", 0)
    endpoint.port = server.sockets[0].getsockname()[1]
    try:
        yield endpoint
    finally:
        server.close()
