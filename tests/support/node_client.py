"""The stock browser clients (pusher-js, laravel-echo) in a Node process, steered by a test."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .polling import eventually, scaled
from .processes import REPOSITORY, clean_environment

E2E = REPOSITORY / "tests" / "e2e"
SCRIPT = E2E / "node" / "client.mjs"
LINE_LIMIT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One event as the client's handler got it. `at_ms` is Unix milliseconds with a fraction."""

    channel: str
    event: str
    data: Any
    user_id: str | None
    at_ms: float


@dataclass(slots=True)
class NodeClient:
    """A running client. Lists grow as things happen; wait for them with the `wait_…` methods."""

    process: asyncio.subprocess.Process
    events: list[Received] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    subscribed: dict[str, Any] = field(default_factory=dict)
    """Channel name → data of its newest `subscription_succeeded`."""
    refused: dict[str, Any] = field(default_factory=dict)
    """Channel name → what the newest `subscription_error` said."""
    errors: list[Any] = field(default_factory=list)
    socket_id: str | None = None
    timeline: list[tuple[str, float]] = field(default_factory=list)
    """States, and `error` for each error, with the Unix milliseconds at which the client saw them."""

    async def send(self, do: str, **arguments: Any) -> None:
        """Give a command of `client.mjs`."""
        if self.process.stdin is None:
            msg = "the client has no stdin"
            raise RuntimeError(msg)
        self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        await self.process.stdin.drain()

    async def subscribe(self, channel: str) -> Any:
        """Subscribe by wire name and wait for the server's yes; returns its data."""
        self.subscribed.pop(channel, None)
        await self.send("subscribe", channel=channel)
        await eventually(lambda: channel in self.subscribed, 10, what=f"subscribed to {channel}; {self.refused}")
        return self.subscribed[channel]

    async def try_subscribe(self, channel: str) -> Any:
        """Subscribe and wait for the server's no; returns what the error said."""
        await self.send("subscribe", channel=channel)
        await eventually(lambda: channel in self.refused, 10, what=f"refused on {channel}")
        return self.refused[channel]

    async def listen(self, channel: str, event: str) -> None:
        """`Echo.private(…).listen(event)` for the wire name `channel`; does not wait."""
        await self.send("listen", channel=channel, event=event)

    async def wait_state(self, state: str, deadline: float = 10) -> None:
        """Wait until the connection is in this pusher-js state now."""
        await eventually(lambda: self.states[-1:] == [state], deadline, what=f"state {state}; seen {self.states}")

    async def wait_event(self, event: str, *, channel: str | None = None, count: int = 1) -> Received:
        """Wait for the `count`-th event of that name; returns it."""

        def matching() -> list[Received]:
            return [one for one in self.events if one.event == event and channel in (None, one.channel)]

        await eventually(lambda: len(matching()) >= count, 10, what=f"{count} x {event}; seen {self.events}")
        return matching()[count - 1]

    async def close(self) -> None:
        """End the client's process."""
        if self.process.returncode is None:
            with contextlib.suppress(ConnectionError):
                await self.send("end")
            try:
                await asyncio.wait_for(self.process.wait(), scaled(5))
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    async def read_forever(self) -> None:
        """Take in what the client reports until its end."""
        if self.process.stdout is None:
            return
        async for line in self.process.stdout:
            self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "state":
                self.states.append(message["current"])
                self.timeline.append((message["current"], message["at"]))
                self.socket_id = message["socketId"]
            case "event":
                self.events.append(
                    Received(
                        channel=message["channel"],
                        event=message["event"],
                        data=message.get("data"),
                        user_id=message.get("userId"),
                        at_ms=message["at"],
                    )
                )
            case "frame":
                self.frames.append(message["frame"])
            case "subscribed":
                self.subscribed[message["channel"]] = message.get("data")
            case "refused":
                self.refused[message["channel"]] = message.get("data")
            case _:
                self.errors.append(message.get("error"))
                self.timeline.append(("error", message["at"]))


@contextlib.asynccontextmanager
async def node_client(
    port: int,
    *,
    library: Literal["echo", "pusher"] = "echo",
    key: str = "sharedjox",
    token: str | None = None,
    api_port: int | None = None,
    options: dict[str, Any] | None = None,
    connected: bool = True,
) -> AsyncIterator[NodeClient]:
    """A client of the gateway on 127.0.0.1:`port`, connected unless told otherwise, ended on leaving.

    With `api_port`, private channels are authorized at that api with `token`. `options` go to the library as they are.
    """
    config: dict[str, Any] = {"library": library, "key": key, "host": "127.0.0.1", "port": port}
    if token is not None:
        config["token"] = token
    if api_port is not None:
        config["authUrl"] = f"http://127.0.0.1:{api_port}/broadcasting/auth"
        config["userAuthUrl"] = f"http://127.0.0.1:{api_port}/broadcasting/user-auth"
    if options is not None:
        config["options"] = options
    require_packages()
    process = await asyncio.create_subprocess_exec(
        *("node", str(SCRIPT), json.dumps(config)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(),
        limit=LINE_LIMIT_BYTES,
    )
    client = NodeClient(process)
    reader = asyncio.create_task(client.read_forever())
    try:
        if connected:
            await client.wait_state("connected")
        yield client
    finally:
        await client.close()
        await reader


def require_packages(folder: Path = E2E) -> None:
    """Fail with what to do when the npm packages are not installed."""
    assert (folder / "node_modules").exists(), f"npm packages of {folder} are missing: run `make install`"
