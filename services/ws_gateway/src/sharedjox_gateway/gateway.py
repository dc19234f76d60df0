"""One gateway process: the pieces put together, without HTTP and without sockets of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final

from sharedjox_contracts.channels import channel_kind
from sharedjox_contracts.control import Command
from sharedjox_contracts.count_layout import CONNECTIONS_FIELD
from sharedjox_kit.logs import get_logger
from sharedjox_kit.redis_address import parse_cluster_url, parse_redis_url
from sharedjox_kit.tracing import start_tracing

from .apps import App, Apps
from .apps_file import AppsFile
from .broker.cluster import ClusterBroker
from .broker.redis import RedisBroker
from .cache import CachedEvents, InTurn
from .callers import Callers
from .collector import Collector
from .commands import Commands
from .connection.connection import Connection
from .connection.entry import Entry
from .connection.sending import choose_send, choose_send_each
from .connection.socket_ids import SocketIds
from .control import ControlFeed
from .counts import Counts
from .feed import ChannelFeed
from .figures import Figures
from .gauges import state
from .grants import GrantWatch
from .handler import MessageHandler
from .heartbeat import TICK_SECONDS, Heartbeat
from .http.api import HttpApi
from .http.channels import ChannelDirectory
from .http.connections import ApiConnections
from .http.publishing import EventPublishing
from .hub.channel import Channel
from .hub.hub import Hub
from .join import Preparation
from .leases import NodeLease
from .presence.registry import PresenceRegistry
from .presence.store import PresenceDirectory
from .protocol import messages
from .protocol.client_address import TrustedProxies
from .protocol.close_codes import PusherError
from .protocol.handshake import UpgradeRequest, accept_response, check_protocol, origin_is_allowed
from .protocol.quick import choose_readers
from .reports import Reports
from .settings import GatewaySettings
from .stats import Stats
from .subscriptions import Subscriptions
from .traced import TracedDeliveries
from .users.registry import UserRegistry
from .webhooks import WebhookQueue
from .xhr.sessions import XhrSessions

_log = get_logger(__name__)
SWEEP_TICKS: Final = 10


class Gateway:
    """Owns connections (`ConnectionOwner`, `EntryOwner`) and everything they need. Made inside a running loop."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._now = asyncio.get_running_loop().time
        self.settings = settings
        self.stats = Stats()
        self.tracing = start_tracing("sharedjox-gateway", settings.otel_exporter_otlp_endpoint)
        self.apps = Apps(settings.load_apps())
        self.apps_file = AppsFile(settings.apps_file, settings.load_apps, self._replace_apps)
        self.hub: Hub[Connection] = self._make_hub()
        self.feed = ChannelFeed(self.hub, self.stats, self._command)
        self.redis = RedisBroker(
            parse_redis_url(settings.redis_url),
            self.feed,
            settings.history(),
            self.apps.ids,
            probe_seconds=settings.redis_probe_seconds,
            use_native=settings.gateway_native,
        )
        self.cluster = self._make_cluster()
        self.broker: RedisBroker | ClusterBroker = self.cluster or self.redis
        self.feed.attach(self.broker)
        self.lease = NodeLease(
            self.redis, heartbeat_seconds=settings.lease_heartbeat_seconds, lease_seconds=settings.lease_seconds
        )
        self._add_subscribing()
        self._add_connections()
        self._add_http()
        self.is_draining = False
        self.told_to_drain = asyncio.Event()
        """This process is to drain and end, as a signal would make it: an operator wants it, or a part of it failed."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._collector = Collector(self._now())

    def _make_hub(self) -> Hub[Connection]:
        use_native, loop = self.settings.gateway_native, asyncio.get_running_loop()
        send, alone_members = choose_send(use_native=use_native, loop=loop)
        return Hub(
            loop.call_soon,
            TracedDeliveries(self.stats, self.tracing) if self.tracing.is_recording else self.stats,
            alone_members=alone_members,
            send=send,
            send_each=choose_send_each(use_native=use_native),
        )

    def _make_cluster(self) -> ClusterBroker | None:
        """The Cluster on which channels live, where REDIS_CHANNELS_URL names one."""
        settings = self.settings
        if not settings.redis_channels_url:
            return None
        return ClusterBroker(
            parse_cluster_url(settings.redis_channels_url),
            self.redis,
            self.feed,
            settings.history(),
            self._announces,
            probe_seconds=settings.redis_probe_seconds,
            use_native=settings.gateway_native,
        )

    def _announces(self, app_id: str, channel: str) -> bool:
        """Whether scripts on the main Redis announce something to a channel's members: its roster or its count."""
        app = self.apps.by_id(app_id)
        return channel_kind(channel).is_presence or (app is not None and app.subscription_counts)

    def _add_subscribing(self) -> None:
        """What stands between a message of a client and the channels: rights, members, users, cached events."""
        self.subscriptions = Subscriptions(self.hub, self.stats, self.broker, self.feed, self._joined)
        self.webhooks = WebhookQueue(self.redis, self.apps)
        self.presence = PresenceRegistry(self.hub, self.redis, self.lease, self.apps, self.subscriptions.refuse)
        self.feed.presence = self.subscriptions.presence = self.presence
        self.users = UserRegistry(self.hub, self.redis, self.lease, self.apps, self.subscriptions)
        self.control = ControlFeed(self.redis, self._command, self._doubt)
        self.control.follow(self.apps.ids)
        self.grants = GrantWatch(self.redis, self.hub.connections, self._send_away, self._now)
        self.commands = Commands(
            self.hub, self.apps, self.subscriptions, self.presence, self.users, self.grants, self._told_to_drain
        )
        self.handler = MessageHandler(
            self.hub,
            self.apps,
            self.subscriptions,
            self.stats,
            self.broker.publish_transient,
            self.presence,
            self.users,
            self.webhooks,
            self.grants.admit,
        )
        self.cached = CachedEvents(self.broker.commander_of)
        self.cached.on_miss.append(self.webhooks.cache_miss)
        self._presence_and_cache = InTurn(self.cached, self.presence)
        self.subscriptions.preparation = self._preparation

    def _add_connections(self) -> None:
        """What connections are made of, counted by and timed with."""
        settings = self.settings
        self.heartbeat = Heartbeat(
            self.hub.connections,
            ping_interval_seconds=settings.ping_interval_seconds,
            handshake_timeout_seconds=settings.handshake_timeout_seconds,
            close_timeout_seconds=settings.close_timeout_seconds,
            lifetime_seconds=settings.connection_lifetime_seconds,
            now=self._now,
        )
        self.callers = Callers(TrustedProxies(settings.trusted_proxies), limit=settings.max_connections_per_address)
        self.xhr = XhrSessions(lambda: self.redis.commander)
        self._app_connections: dict[str, int] = {}
        self.counts = Counts(self.hub, self.apps, self.redis, self.lease, self._app_connections)
        self.subscriptions.on_members = self.counts.mark
        self.read_upgrade, self.read_text = choose_readers(use_native=settings.gateway_native)
        self.max_message_bytes = settings.max_message_bytes
        self.max_buffer_bytes = settings.max_buffer_bytes
        self.connection_limit = settings.connection_limit
        self._socket_ids = SocketIds()

    def _add_http(self) -> None:
        """The HTTP API, and what operators see of this process."""
        settings = self.settings
        directory = ChannelDirectory(self.counts, self.cached, PresenceDirectory(self.redis))
        publishing = EventPublishing(self.broker, directory, self.stats, settings.cache_seconds * 1000)
        self.api = HttpApi(self.apps, self.redis, publishing, directory, self.stats)
        self.api_connections = ApiConnections(
            self.api,
            request_timeout_seconds=settings.request_timeout_seconds,
            keep_alive_seconds=settings.keep_alive_seconds,
            now=self._now,
        )
        self.figures = Figures(self.stats, lambda: len(self.hub.connections), lambda: self.redis.commander, self._now)
        self.reports = Reports(self.redis, settings, lambda: self.apps.listed, lambda: state(self))

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to talk to Redis and to keep time."""
        self._collector.install()
        self._go_on("redis", self.redis.run())
        self._go_on("lease", self.lease.run())
        self._go_on("clock", self._keep_time())
        if self.cluster is not None:
            self._go_on("cluster", self.cluster.run())

    def _go_on(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Do this beside everything else, until it is done or the gateway stops."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._is_done)

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # Without this part the process would only look alive. Its clients are better off with another one.
        _log.error("gateway.part_failed", part=task.get_name(), exc_info=error)
        self.told_to_drain.set()

    async def stop(self) -> None:
        """End the background work and drop what is still connected."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.api_connections.abort()
        for connection in list(self.hub.connections.values()):
            connection.abort()
        self.counts.retire()
        self.figures.retire()
        self.reports.retire()
        await self.lease.resign()
        if self.cluster is not None:
            await self.cluster.aclose()
        await self.redis.aclose()
        self._collector.uninstall()
        await asyncio.to_thread(self.tracing.shutdown)  # its last export waits for the collector

    async def _keep_time(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.heartbeat.tick()
            self._collector.tick(self._now(), len(self.hub.connections))
            self.api_connections.tick()
            self.users.tick()
            self.subscriptions.confirmations.tick()
            self.xhr.tick()
            self.figures.tick()
            self.reports.tick()
            self.grants.tick()
            self.apps_file.tick()
            ticks += 1
            if ticks % SWEEP_TICKS == 0:
                self.subscriptions.sweep()

    async def drain(self) -> None:
        """Send everybody elsewhere: 4200 in waves over the drain window. New upgrades get 4200 at once."""
        self.is_draining = True
        self.api_connections.drain()
        await self._reconnect_in_waves(list(self.hub.connections.values()))

    async def _reconnect_in_waves(self, connections: list[Connection]) -> None:
        waves = max(1, round(self.settings.drain_seconds / self.settings.drain_wave_seconds))
        share = -(-len(connections) // waves)
        _log.info("gateway.sending_away", connections=len(connections), waves=waves, draining=self.is_draining)
        for start in range(0, len(connections), max(share, 1)):
            for connection in connections[start : start + share]:
                connection.refuse(PusherError.RECONNECT)
            if start + share < len(connections):
                await asyncio.sleep(self.settings.drain_wave_seconds)

    def _send_away(self, connections: list[Connection]) -> None:
        """Have connections authorized anew: 4200, on which clients come back at once and subscribe again."""
        self.stats.sent_away += len(connections)
        self._go_on("sending away", self._reconnect_in_waves(connections))

    def _doubt(self, app_id: str, was_used: bool) -> None:
        self.grants.doubt(app_id, was_used=was_used)

    @property
    def is_ready(self) -> bool:
        """Whether this process should get new connections."""
        return not self.is_draining and self.broker.is_usable

    # --- EntryOwner -------------------------------------------------------------------------------------------------

    def entered(self, entry: Entry) -> None:
        """See `EntryOwner`."""
        self.heartbeat.entered(entry)

    def left(self, entry: Entry) -> None:
        """See `EntryOwner`."""
        self.heartbeat.entries.pop(entry, None)

    def upgrade(self, request: UpgradeRequest, transport: asyncio.Transport) -> asyncio.Protocol:
        """See `EntryOwner`."""
        return self.accept(request, transport, preamble=accept_response(request.accept))

    def accept(self, request: UpgradeRequest, transport: asyncio.Transport, *, preamble: bytes) -> Connection:
        """Make a connection on a transport; `preamble` goes before its first frame.

        A refusal is an accepted connection and a close code, so that browsers can see it.
        """
        app = self.apps.by_key(request.app_key)
        protocol = check_protocol(request.protocol, request.version)
        address = self.callers.address_of(request, transport)
        refusal = self._refusal(request, app, protocol, address)
        version = protocol if isinstance(protocol, int) else 7
        connection = Connection(self, app or _NO_APP, self._socket_ids.new(), version, transport)
        if refusal is not None:
            self.stats.connections_refused[refusal.code] += 1
            self.callers.refused(request, transport, refusal)
            transport.write(preamble)
            connection.refuse(refusal)
            return connection
        connection.opened_at = self._now()
        connection.address = address
        self.hub.connections[connection.socket_id] = connection
        self._app_connections[connection.app.id] = self._app_connections.get(connection.app.id, 0) + 1
        self.counts.mark(connection.app.id, CONNECTIONS_FIELD)
        self.stats.connections_opened += 1
        self.callers.opened(connection)
        self.users.opened(connection)
        transport.write(
            preamble + messages.connection_established(connection.socket_id, self.settings.activity_timeout_seconds)
        )
        return connection

    def _refusal(
        self, request: UpgradeRequest, app: App | None, protocol: PusherError | int, address: str
    ) -> PusherError | None:
        if request.app_key is None:
            return PusherError.PATH_NOT_FOUND
        if app is None:
            return PusherError.UNKNOWN_APP
        if not app.enabled:
            return PusherError.APP_DISABLED
        if isinstance(protocol, PusherError):
            return protocol
        if not origin_is_allowed(request.origin, app.allowed_origins):
            return PusherError.ORIGIN_NOT_ALLOWED
        if self.is_draining:
            return PusherError.RECONNECT
        if len(self.hub.connections) >= self.connection_limit or self.callers.is_full(address):
            return PusherError.OVER_CAPACITY
        quota = app.limits.max_connections
        if quota and self._app_connections.get(app.id, 0) >= quota:
            return PusherError.OVER_QUOTA
        return None

    # --- ConnectionOwner --------------------------------------------------------------------------------------------

    def received(self, connection: Connection, payload: bytes) -> None:
        """See `ConnectionOwner`."""
        self.handler.handle(connection, payload)

    def ponged(self, connection: Connection, payload: bytes) -> None:
        """See `ConnectionOwner`."""
        self.subscriptions.confirmations.ponged(connection, payload)

    def ended(self, connection: Connection, code: int) -> None:
        """See `ConnectionOwner`."""
        if self.hub.connections.pop(connection.socket_id, None) is None:
            return
        self._app_connections[connection.app.id] -= 1
        self.counts.mark(connection.app.id, CONNECTIONS_FIELD)
        self.stats.connections_closed[code] += 1
        self.callers.ended(connection, code, seconds=self._now() - connection.opened_at)
        self.subscriptions.leave_all(connection)
        self.users.ended(connection)
        connection.joining = None

    def closing(self, connection: Connection) -> None:
        """See `ConnectionOwner`."""
        self.heartbeat.closes(connection)

    def lost(self, connection: Connection) -> None:
        """See `ConnectionOwner`."""
        self.heartbeat.closed(connection)

    def overflowed(self, connection: Connection) -> None:
        """See `ConnectionOwner`."""
        self.stats.slow_closes += 1
        _log.info("connection.too_slow", socket_id=connection.socket_id, channels=len(connection.channels))

    # --- others -----------------------------------------------------------------------------------------------------

    def _preparation(self, channel: Channel) -> Preparation | None:
        if channel.kind.is_presence:
            return self._presence_and_cache if channel.kind.is_cache else self.presence
        return self.cached if channel.kind.is_cache else None

    def _replace_apps(self, apps: list[App]) -> None:
        """Other applications count, for open connections too; who lost its app is closed. Raises: ValueError."""
        self.apps.replace(apps)
        self.redis.hear_commands(self.apps.ids)
        if self.cluster is not None:
            self.cluster.apps_changed()
        self.control.follow(self.apps.ids)
        for connection in list(self.hub.connections.values()):
            app = self.apps.by_id(connection.app.id)
            if app is None:
                connection.refuse(PusherError.UNKNOWN_APP)
            elif not app.enabled:
                connection.refuse(PusherError.APP_DISABLED)
            else:
                connection.app = app

    def _joined(self, connection: Connection, channel: str) -> None:
        self.handler.joined(connection, channel)

    def _command(self, app_id: str, command: Command) -> None:
        self.commands.apply(app_id, command)

    def _told_to_drain(self, process: str) -> None:
        if process == self.reports.id:
            self.told_to_drain.set()


_NO_APP: Final = App(id="0", key="none", secret="-", enabled=False)  # noqa: S106 - stands for no app at all
