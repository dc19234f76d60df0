"""Listening (the shared port, and those of this process alone), uvicorn for HTTP with our entry before it, drain."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import sys
from collections.abc import Generator
from typing import Any, Final

import httpx
import uvicorn
from fastapi import FastAPI
from sharedjox_kit.environment import refuse
from sharedjox_kit.logs import get_logger

from .app import create_hop_app, create_http_app
from .connection.entry import Entry
from .connection.sockets import Acceptor, own_transports_work
from .gateway import Gateway
from .http.connection import ApiConnection
from .http.fallback import SharedHttpProtocol
from .http.routing import is_api_request
from .settings import GatewaySettings

_log = get_logger(__name__)
BACKLOG: Final = 4096
ACCEPTED_AT_ONCE: Final = 8
"""libuv takes one connection from a listening socket in each turn of the loop. So it is given the same one as often as
connections are to be taken in one turn: a quarter less time for each in a storm (docs/performance.md)."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: a signal means drain first, and `serve` decides when that is over."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """The listening socket of the public port, which several gateway processes share (SO_REUSEPORT).

    Ends the process with a clear line when it cannot be had.
    """
    listener = _socket(host)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return _listening(listener, host, port, "REVERB_HOST / REVERB_PORT")


def listen_alone(host: str, port: int, settings: str) -> socket.socket:
    """The listening socket of a port that must lead to this process and no other; port 0 = any that is free.

    Ends the process with a clear line that names `settings` when the address cannot be had.
    """
    listener = _socket(host)
    if port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _listening(listener, host, port, settings)


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


def _listening(listener: socket.socket, host: str, port: int, settings: str) -> socket.socket:
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        refuse(f"cannot listen on {host}:{port}: {error.strerror}. Set {settings} to a free address.")
    listener.setblocking(False)
    return listener


def _interface(host: str) -> str:
    """What to listen on, to be reached at `host`: that address; for a name, which may mean several, everything."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host if host == "localhost" else ""
    return host


class _Reception:
    """Gives every accepted connection an entry, and every entry the protocol that its first bytes ask for.

    Made once, not per connection: closures that know each other would leave a cycle behind each connection.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._uvicorn: tuple[uvicorn.Config, Any, dict[str, Any], asyncio.AbstractEventLoop | None]

    def serve_for(self, server: uvicorn.Server) -> None:
        """Make protocols of this server, also when its own listening sockets accept nothing."""
        self._uvicorn = (server.config, server.server_state, {}, None)

    def accepted(self, transport: asyncio.Transport, data: bytes | None) -> None:
        """For the acceptor: mostly a client's whole upgrade request has come with its connection."""
        if data is not None:
            request = self._gateway.read_upgrade(data)
            if request is not None:
                protocol = self._gateway.upgrade(request, transport)
                transport.set_protocol(protocol)
                protocol.connection_made(transport)
                return
        entry = Entry(self._gateway, self._make_http)
        transport.set_protocol(entry)
        entry.connection_made(transport)
        if data is not None:
            entry.data_received(data)

    def __call__(
        self,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Entry:
        """For uvicorn, as a protocol factory: always called with the same objects."""
        self._uvicorn = (config, server_state, app_state, _loop)
        return Entry(self._gateway, self._make_http)

    def _make_http(self, first: bytes) -> asyncio.Protocol:
        if is_api_request(first):
            return ApiConnection(self._gateway.api_connections, self._hand_back)
        return SharedHttpProtocol(self._gateway.api_connections, self._hand_back, *self._uvicorn)

    def _hand_back(self, transport: asyncio.Transport, data: bytes) -> None:
        entry = Entry(self._gateway, self._make_http)
        transport.set_protocol(entry)
        entry.connection_made(transport)
        entry.data_received(data)


def _create_server(reception: _Reception, app: FastAPI, settings: GatewaySettings) -> _Server:
    config = uvicorn.Config(
        app,
        http=reception,  # type: ignore[arg-type]  # any callable with the constructor's arguments will do
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        backlog=BACKLOG,
        timeout_keep_alive=round(settings.keep_alive_seconds),
        timeout_graceful_shutdown=2,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    server = _Server(config)
    reception.serve_for(server)
    return server


def _accept_on(
    listener: socket.socket, reception: _Reception, settings: GatewaySettings
) -> tuple[Acceptor | None, list[socket.socket]]:
    """Accept on the public port: by transports of our own, else by uvicorn's server, for which the sockets are."""
    if settings.tls_certificate or not own_transports_work(use_native=settings.gateway_native):
        return None, [listener, *(listener.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]
    acceptor = Acceptor(reception.accepted)
    acceptor.listen(listener)
    return acceptor, []


def _create_inner_server(app: FastAPI) -> _Server:
    """For Prometheus and other gateways: plain uvicorn on a socket that is given to it."""
    return _Server(
        uvicorn.Config(
            app,
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )


async def serve(settings: GatewaySettings) -> None:
    """Run one gateway process until SIGTERM or SIGINT, then drain. A second signal cuts the drain short."""
    loop = asyncio.get_running_loop()
    gateway = Gateway(settings)
    # Streams of other processes' fallback sessions last for hours; how many there are is limited by their connections.
    forward = httpx.AsyncClient(
        timeout=httpx.Timeout(None, connect=2.0), limits=httpx.Limits(max_connections=None), trust_env=False
    )
    app = create_http_app(gateway, forward)
    reception = _Reception(gateway)
    server = _create_server(reception, app, settings)
    stop = asyncio.Event()
    hurry = asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    listener = listen(settings.reverb_host, settings.reverb_port)
    host, port = listener.getsockname()[:2]
    gateway.start()
    acceptor, sockets = _accept_on(listener, reception, settings)
    servers = [(server, sockets)]
    if settings.gateway_admin_port:
        admin = listen_alone(
            settings.gateway_admin_host, settings.gateway_admin_port, "GATEWAY_ADMIN_HOST / GATEWAY_ADMIN_PORT"
        )
        servers.append((_create_inner_server(app), [admin]))
    inside = settings.gateway_internal_host
    internal = listen_alone(_interface(inside), settings.gateway_internal_port, "GATEWAY_INTERNAL_HOST / _PORT")
    servers.append((_create_inner_server(create_hop_app(gateway)), [internal]))
    gateway.xhr.address = f"http://{f'[{inside}]' if ':' in inside else inside}:{internal.getsockname()[1]}"
    running = [loop.create_task(each.serve(sockets=sockets)) for each, sockets in servers]
    _log.info("gateway.listening", host=host, port=port, apps=gateway.apps.ids, limit=settings.connection_limit)
    await _first(stop.wait(), gateway.told_to_drain.wait(), *running)
    if acceptor is not None:
        acceptor.stop_listening()
    for accepting in server.servers:
        accepting.close()
    await _first(gateway.drain(), hurry.wait())
    await _first(gateway.heartbeat.all_closed.wait(), hurry.wait(), asyncio.sleep(settings.close_timeout_seconds))
    for each, _ in servers:
        each.should_exit = True
    await asyncio.gather(*running)
    await gateway.stop()
    if acceptor is not None:
        acceptor.close()
    await forward.aclose()
    _log.info("gateway.stopped", hurried=hurry.is_set())


async def _first(*waits: Any) -> None:
    """Wait until one of them is over; the others are cancelled unless they were tasks of the caller."""
    own = [asyncio.ensure_future(wait) for wait in waits if not isinstance(wait, asyncio.Task)]
    given = [wait for wait in waits if isinstance(wait, asyncio.Task)]
    await asyncio.wait([*own, *given], return_when=asyncio.FIRST_COMPLETED)
    for task in own:
        task.cancel()
    await asyncio.gather(*own, return_exceptions=True)


def fail_on_wrong_platform() -> None:
    """SO_REUSEPORT balances connections on Linux; elsewhere one process per port is the way."""
    if not hasattr(socket, "SO_REUSEPORT"):
        refuse(f"this platform ({sys.platform}) has no SO_REUSEPORT; run the gateway on Linux or macOS")
