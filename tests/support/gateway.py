"""Gateway processes that share nothing but Redis, and a raw Pusher client that says exactly what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sharedjox_contracts.channels import channel_kind
from sharedjox_contracts.codec import encode_json_text
from sharedjox_contracts.signatures import channel_auth, user_auth
from sharedjox_devstack.ports import free_port
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .polling import eventually, scaled
from .processes import ServiceProcess, python_module, running
from .tcp_client import dialled

MAX_FRAME_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TestApp:
    """An application as its own back end knows it."""

    __test__ = False

    id: str = "1001"
    key: str = "sharedjox"
    secret: str = "sharedjox-secret"

    def config(self, **options: Any) -> dict[str, Any]:
        """One entry of APPS_FILE."""
        return {"id": self.id, "key": self.key, "secret": self.secret, **options}

    def sign_channel(self, socket_id: str, channel: str, channel_data: str | None = None) -> str:
        """The `auth` of a subscribe."""
        return channel_auth(
            key=self.key, secret=self.secret, socket_id=socket_id, channel=channel, channel_data=channel_data
        )

    def sign_user(self, socket_id: str, user_data: str) -> str:
        """The `auth` of a sign-in."""
        return user_auth(key=self.key, secret=self.secret, socket_id=socket_id, user_data=user_data)


APP = TestApp()


@dataclass(slots=True)
class GatewayNode:
    """One gateway process on a port of its own."""

    service: ServiceProcess
    port: int

    @property
    def http_url(self) -> str:
        """Where it answers HTTP, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """SIGKILL."""
        self.service.kill()

    async def metric(self, name: str) -> float:
        """The present value of a metric without labels, e.g. `sharedjox_gateway_connections`."""
        return (await self.metrics(name))[name]

    async def metrics(self, *names: str) -> dict[str, float]:
        """The values of several metrics without labels, of one moment."""
        async with dialled(self.port) as (reader, writer):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
            text = (await reader.read()).decode()
        found = (line.split() for line in text.splitlines() if line.startswith(tuple(f"{name} " for name in names)))
        values = {name: float(value) for name, value in found}
        assert values.keys() == set(names), f"no such metrics: {set(names) - values.keys()}"
        return values


def gateway_node(folder: Path, name: str, redis_url: str, env: Mapping[str, str] | None = None) -> GatewayNode:
    """A gateway process that is not started yet; its log goes to `folder`."""
    port = free_port()
    settings = {"REDIS_URL": redis_url, "REVERB_HOST": "127.0.0.1", "REVERB_PORT": str(port), "DRAIN_SECONDS": "0"}
    service = ServiceProcess(
        name,
        python_module("sharedjox_gateway.main"),
        log_file=folder / f"{name}.log",
        env=settings | dict(env or {}),
        ready_port=port,
    )
    return GatewayNode(service, port)


@contextlib.contextmanager
def running_gateways(
    folder: Path,
    redis_url: str,
    *,
    count: int = 2,
    apps: Sequence[Mapping[str, Any]] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[list[GatewayNode]]:
    """`count` gateway processes over one Redis, each on its own port, stopped on leaving whatever happened.

    `apps` are entries of APPS_FILE (see `TestApp.config`); without them there is `APP` alone. `env` adds settings.
    """
    settings = dict(env or {})
    if apps is not None:
        apps_file = folder / "apps.json"
        apps_file.write_text(json.dumps(list(apps)))
        settings["APPS_FILE"] = str(apps_file)
    nodes = [gateway_node(folder, f"gateway-{number}", redis_url, settings) for number in range(1, count + 1)]
    with running(*(node.service for node in nodes)):
        yield nodes


@dataclass(frozen=True, slots=True)
class Frame:
    """One message from the server. `data` is decoded when it is JSON in a string; `text` is what came."""

    event: str
    channel: str | None
    data: Any
    user_id: str | None
    message: dict[str, Any]
    text: str


class SubscribeRefused(AssertionError):  # noqa: N818 - reads as what happened
    """The server answered a subscribe with an error; `data` is that of the frame."""

    def __init__(self, channel: str, data: Any) -> None:
        super().__init__(f"{channel}: {data}")
        self.data = data


@dataclass(slots=True)
class PusherClient:
    """A connection to one gateway. `frames` grows as messages arrive; nothing is answered or repeated by itself."""

    app: TestApp
    socket: ClientConnection
    frames: list[Frame] = field(default_factory=list)
    socket_id: str = ""
    take: Callable[[Frame], bool] | None = None
    """Looks at each frame as it arrives; those it answers True for are kept out of `frames`."""
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read from now on, and wait for the handshake."""
        self._reader = asyncio.create_task(self._read())
        established = await self.wait_for("pusher:connection_established")
        self.socket_id = established.data["socket_id"]

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                assert isinstance(text, str)
                frame = _parse(text)
                if self.take is None or not self.take(frame):
                    self.frames.append(frame)
                    self._arrived.set()
        self._arrived.set()

    # --- saying -----------------------------------------------------------------------------------------------------

    async def send(self, event: str, data: Any = None, channel: str | None = None, **more: Any) -> None:
        """Send one message; None members are left out."""
        message = {"event": event, "data": data, "channel": channel, **more}
        await self.send_text(json.dumps({key: value for key, value in message.items() if value is not None}))

    async def send_text(self, text: str) -> None:
        """Send this text as it is."""
        await self.socket.send(text)

    def subscribe_data(
        self, channel: str, *, user_id: Any = None, user_info: Any = None, channel_data: str | None = None
    ) -> dict[str, Any]:
        """The signed `data` of a subscribe. `user_id` makes `channel_data`, unless that is given."""
        if channel_data is None and user_id is not None:
            member = {"user_id": user_id} | ({} if user_info is None else {"user_info": user_info})
            channel_data = encode_json_text(member)
        data: dict[str, Any] = {"channel": channel}
        if channel_kind(channel).needs_signature:
            data["auth"] = self.app.sign_channel(self.socket_id, channel, channel_data)
        if channel_data is not None:
            data["channel_data"] = channel_data
        return data

    async def subscribe(self, channel: str, *, recover: Any = None, **member: Any) -> Any:
        """Subscribe and return the acknowledgement's data. `member`: see `subscribe_data`.

        Raises: SubscribeRefused.
        """
        before = len(self.frames)
        data = self.subscribe_data(channel, **member)
        if recover is not None:
            data["recover"] = recover
        await self.send("pusher:subscribe", data)
        return await self.answer_to_subscribe(channel, before)

    async def answer_to_subscribe(self, channel: str, after: int = 0) -> Any:
        """Wait for the yes or no to a subscribe among the frames from number `after` on."""
        answers = ("pusher_internal:subscription_succeeded", "pusher:subscription_error")
        answer = await self.wait_until(
            lambda: next((one for one in self.frames[after:] if one.channel == channel and one.event in answers), None),
            what=f"an answer to the subscribe to {channel}",
        )
        if answer.event != answers[0]:
            raise SubscribeRefused(channel, answer.data)
        return answer.data

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe; there is no answer."""
        await self.send("pusher:unsubscribe", {"channel": channel})

    async def sign_in(self, user_id: Any, *, watchlist: Sequence[str] | None = None, **info: Any) -> Frame:
        """Sign in and wait for the success or the error."""
        user = {"id": user_id} | ({"user_info": info} if info else {})
        if watchlist is not None:
            user["watchlist"] = list(watchlist)
        user_data = json.dumps(user)
        before = len(self.frames)
        await self.send(
            "pusher:signin", {"auth": self.app.sign_user(self.socket_id, user_data), "user_data": user_data}
        )
        return await self.wait_until(
            lambda: next(
                (one for one in self.frames[before:] if one.event in ("pusher:signin_success", "pusher:error")), None
            ),
            what="an answer to the sign-in",
        )

    async def round_trip(self) -> None:
        """Ping and wait for the pong: the server has handled everything sent before."""
        pongs = len(self.of("pusher:pong"))
        await self.send("pusher:ping", {})
        await self.wait_for("pusher:pong", count=pongs + 1)

    # --- hearing ----------------------------------------------------------------------------------------------------

    def of(self, event: str, channel: str | None = None) -> list[Frame]:
        """The frames of this event so far."""
        return [one for one in self.frames if one.event == event and channel in (None, one.channel)]

    async def wait_for(self, event: str, *, channel: str | None = None, count: int = 1, deadline: float = 5) -> Frame:
        """Wait for the `count`-th frame of this event."""

        def found() -> Frame | None:
            frames = self.of(event, channel)
            return frames[count - 1] if len(frames) >= count else None

        return await self.wait_until(found, what=f"{count} x {event} on {channel}", deadline=deadline)

    async def wait_until(self, find: Any, *, what: str, deadline: float = 5) -> Frame:
        """Wait until `find()` returns a frame; looks again whenever a message arrives."""
        try:
            async with asyncio.timeout(scaled(deadline)):
                while True:
                    self._arrived.clear()
                    found: Frame | None = find()
                    if found is not None:
                        return found
                    if self._reader is not None and self._reader.done():
                        break
                    await self._arrived.wait()
        except TimeoutError:
            pass
        seen = [one.text[:200] for one in self.frames[-10:]]
        msg = f"not within {scaled(deadline):g} s: {what}; close code {self.close_code}; last frames {seen}"
        raise AssertionError(msg)

    @property
    def close_code(self) -> int | None:
        """The code with which the connection ended, None while it stands."""
        return self.socket.close_code

    async def wait_closed(self, deadline: float = 5) -> int | None:
        """Wait for the end; returns the close code."""
        await eventually(lambda: self._reader is not None and self._reader.done(), deadline, what="connection closed")
        return self.socket.close_code

    async def close(self) -> None:
        """Close in good order."""
        await self.socket.close()
        if self._reader is not None:
            await self._reader

    async def abort(self) -> None:
        """Drop the connection without a close frame."""
        self.socket.transport.abort()
        if self._reader is not None:
            await self._reader


def _parse(text: str) -> Frame:
    message = json.loads(text)
    data = message.get("data")
    if isinstance(data, str):
        with contextlib.suppress(ValueError):
            data = json.loads(data)
    return Frame(message["event"], message.get("channel"), data, message.get("user_id"), message, text)


async def open_pusher(
    port: int, app: TestApp = APP, *, query: str = "protocol=7&client=test&version=1.0"
) -> PusherClient:
    """An established connection; close it yourself, or use `pusher_client`."""
    socket = await connect(
        f"ws://127.0.0.1:{port}/app/{app.key}?{query}",
        max_size=MAX_FRAME_BYTES,
        open_timeout=scaled(10),
        close_timeout=scaled(2),
        ping_interval=None,
        compression=None,
        proxy=None,
    )
    client = PusherClient(app, socket)
    await client.start()
    return client


@contextlib.asynccontextmanager
async def pusher_client(port: int, app: TestApp = APP) -> AsyncIterator[PusherClient]:
    """An established connection, closed on leaving."""
    client = await open_pusher(port, app)
    try:
        yield client
    finally:
        await client.close()


class Clients:
    """Opens any number of clients and closes them all."""

    def __init__(self) -> None:
        self._open: list[PusherClient] = []

    async def open(self, node: GatewayNode, app: TestApp = APP) -> PusherClient:
        """One more established connection to this node."""
        client = await open_pusher(node.port, app)
        self._open.append(client)
        return client

    async def close(self) -> None:
        """Close all of them."""
        async with asyncio.TaskGroup() as closing:
            for client in self._open:
                closing.create_task(client.close())
