"""The Redis broker: one listening and one commanding connection per process, both pipelined.

Opening a channel is: SUBSCRIBE, and when that is acknowledged, read the position. In this order nothing can fall
between the two. What arrives in between carries its offset, so the listener sees whether it is before or after.
After a lost connection everything is subscribed again and `opened` comes anew for each channel, with the position then.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol

import hiredis
import msgspec
from sharedjox_contracts.control import decode_command
from sharedjox_contracts.publication import NO_EPOCH, MalformedPublicationError, Publication, decode_publication
from sharedjox_contracts.redis_layout import (
    OPEN_SCRIPT,
    PUBLISH_MANY_SCRIPT,
    LimitsFor,
    control_topic,
    denied_key,
    live_topic,
    log_key,
    meta_key,
    seen_key,
)
from sharedjox_kit.logs import get_logger
from sharedjox_kit.redis_address import RedisAddress

from sharedjox_gateway.hub.channel import Arrival
from sharedjox_gateway.protocol.messages import Position

from .base import BrokerListener, ChannelListener, HistoryPage, Place
from .durable import DurableEvent, DurablePublisher, PublishHandler
from .pushes import make_push_reader, make_targets
from .resp import Reply, RespConnection, connect
from .sentinel import check_is_master, find_master

_log = get_logger(__name__)
HISTORY_PAGE: Final = 1000
RECONNECT_CAP_SECONDS: Final = 1.0
_SUBSCRIBE_BATCH: Final = 500
FORGOTTEN: Final = Position(NO_EPOCH, 0)
"""A place in no history: whoever is taken to have been there is told that something may be missing."""


class BesideListener(Protocol):
    """Hears what is announced here for a channel whose history is elsewhere."""

    def heard(self, app_id: str, channel: str) -> None:
        """From now on everything is; after an outage again."""
        ...

    def published(self, app_id: str, channel: str, publication: Publication) -> None:
        """See `base.BrokerListener.published`."""
        ...


class RedisBroker:
    """See `base.Broker`. `run()` keeps the connections up until cancelled."""

    PUBLISH: ClassVar = "PUBLISH"
    UNSUBSCRIBE: ClassVar = "UNSUBSCRIBE"
    PUBLISH_SCRIPT: ClassVar = PUBLISH_MANY_SCRIPT

    def __init__(
        self,
        address: RedisAddress,
        listener: ChannelListener,
        limits_for: LimitsFor,
        app_ids: list[str],
        *,
        probe_seconds: float = 5.0,
        use_native: bool = True,
    ) -> None:
        self._address = address
        self._probe_seconds = probe_seconds
        self._listener = listener
        self._limits_for = limits_for
        self._durable = DurablePublisher(limits_for, self.PUBLISH_SCRIPT)
        self._control = {control_topic(app_id).encode(): app_id for app_id in app_ids}
        self._topics: dict[bytes, tuple[str, str, BrokerListener]] = {}
        self._targets = make_targets(use_native=use_native)
        self._beside: dict[bytes, tuple[str, str, BesideListener]] = {}
        self._subscriber: RespConnection | None = None
        self._commander: RespConnection | None = None
        self._lost = asyncio.Event()
        self._open_sha = ""
        self._to_subscribe: list[bytes] = []
        self._kept: list[Callable[[], None]] = []
        self._is_heard = False
        self._run_id = ""
        self._restarted_at = float("-inf")
        self.has_restarted = False
        """Whether this connection, unlike the one before it, is to a Redis that may have lost something."""
        self.on_connected: list[Callable[[], None]] = []
        """Called on every new connection, before channels are subscribed: load scripts, renew leases."""
        self.distrusted_until = 0.0
        """Loop time; a connection on which a script failed is replaced, but not again before this."""
        self.on_listening: list[Callable[[str], None]] = []
        """Called with an app id when commands for that app are heard, on every new connection anew."""

    @property
    def is_connected(self) -> bool:
        """Whether both connections stand."""
        return self._subscriber is not None

    @property
    def is_usable(self) -> bool:
        """Whether enough answers for new connections to be served here."""
        return self.is_connected

    @property
    def commander(self) -> RespConnection | None:
        """The connection for commands, or None while Redis is away."""
        return self._commander

    def commander_of(self, _app_id: str, _channel: str) -> RespConnection | None:
        """The connection for commands about a channel's keys, or None while the server that has them is away."""
        return self._commander

    # --- what the gateway asks ------------------------------------------------------------------------------------

    def open(self, app_id: str, channel: str, listener: BrokerListener | None = None, *, target: object = None) -> None:
        """See `base.Broker.open`. The SUBSCRIBEs of one loop turn leave as one command."""
        topic = live_topic(app_id, channel).encode()
        self._topics[topic] = (app_id, channel, listener or self._listener)
        if target is not None:
            self._targets[topic] = target
        if self._subscriber is None:
            return
        if not self._to_subscribe:
            asyncio.get_running_loop().call_soon(self._subscribe_waiting)
        self._to_subscribe.append(topic)

    def hear(self, app_id: str, channel: str, listener: BesideListener) -> None:
        """Hear what is announced here for a channel, without its history."""
        topic = live_topic(app_id, channel).encode()
        self._beside[topic] = (app_id, channel, listener)
        if self._subscriber is not None:
            self._subscribe(self._subscriber, [topic])

    def unhear(self, app_id: str, channel: str) -> None:
        """Hear it no more."""
        topic = live_topic(app_id, channel).encode()
        if self._beside.pop(topic, None) is not None and self._subscriber is not None:
            self._subscriber.send(None, self.UNSUBSCRIBE, topic)

    def hear_commands(self, app_ids: list[str]) -> None:
        """Hear the commands for these apps too, from now on."""
        for app_id in app_ids:
            topic = control_topic(app_id).encode()
            if topic not in self._control:
                self._control[topic] = app_id
                if self._subscriber is not None:
                    self._subscriber.send(None, "SUBSCRIBE", topic)

    def _subscribe_waiting(self) -> None:
        topics, self._to_subscribe = self._to_subscribe, []
        if self._subscriber is not None and topics:
            self._subscribe(self._subscriber, topics)

    def _subscribe(self, subscriber: RespConnection, topics: Sequence[bytes]) -> None:
        subscriber.send(None, "SUBSCRIBE", *topics)

    def close(self, app_id: str, channel: str) -> None:
        """See `base.Broker.close`."""
        topic = live_topic(app_id, channel).encode()
        if self._topics.pop(topic, None) is None:
            return
        self._targets.pop(topic, None)
        if topic in self._to_subscribe:
            self._to_subscribe.remove(topic)
        elif self._subscriber is not None:
            self._subscriber.send(None, self.UNSUBSCRIBE, topic)

    def read_history(self, app_id: str, channel: str, after: int, done: Callable[[HistoryPage | None], None]) -> None:
        """See `base.Broker.read_history`. One round trip: entries and position are read in one transaction."""
        if self._commander is None:
            asyncio.get_running_loop().call_soon(done, None)
            return
        commander = self._commander
        send = commander.send

        def answered(reply: Reply) -> None:
            page = _history_page(reply)
            if page is None:
                self._open_anew(commander, app_id, channel, reply)
            done(page)

        send(None, "MULTI")
        send(None, "HMGET", meta_key(app_id, channel), "e", "o")
        send(None, "XRANGE", log_key(app_id, channel), f"{after + 1}-0", "+", "COUNT", HISTORY_PAGE)
        send(answered, "EXEC")

    def _open_anew(self, commander: RespConnection, _app_id: str, channel: str, error: Reply) -> None:
        """Whoever waits for what failed goes on when channels are opened anew: so they must be."""
        if not isinstance(error, ConnectionError):  # that a connection was lost is said once, not for each channel
            _log.warning("broker.channel_failed", channel=channel, error=str(error))
        commander.abort()

    def save_position(self, app_id: str, channel: str, client_id: str, position: Position) -> None:
        """See `base.Broker.save_position`. Lost while Redis is away: the client is then replayed more."""
        if self._commander is not None:
            place = f"{position.epoch} {position.offset}"
            key = seen_key(app_id, channel, client_id)
            self._commander.send(None, "SET", key, place, "EX", self._limits_for(channel).age_seconds)

    def load_position(self, app_id: str, channel: str, client_id: str, done: Callable[[Position | None], None]) -> None:
        """See `base.Broker.load_position`."""
        self._ask(lambda reply: done(self._recalled(channel, reply)), "GET", seen_key(app_id, channel, client_id))

    def _recalled(self, channel: str, reply: Reply) -> Position | None:
        epoch, _, offset = reply.decode().partition(" ") if isinstance(reply, bytes) else ("", "", "")
        if epoch and offset.isdigit():
            return Position(epoch, int(offset))
        return FORGOTTEN if self._may_have_forgotten(channel) else None

    def _may_have_forgotten(self, channel: str) -> bool:
        """Whether a client that nobody knows may be one that Redis knew before it was restarted."""
        return asyncio.get_running_loop().time() < self._restarted_at + self._limits_for(channel).age_seconds

    def forget_position(self, app_id: str, channel: str, client_id: str) -> None:
        """See `base.Broker.forget_position`."""
        if self._commander is not None:
            self._commander.send(None, "DEL", seen_key(app_id, channel, client_id))

    def read_denial(self, app_id: str, channel: str, socket_id: str, done: Callable[[bool], None]) -> None:
        """See `base.Broker.read_denial`."""
        self._ask(lambda reply: done(reply != 0), "EXISTS", denied_key(app_id, channel, socket_id))

    def _ask(self, answered: Callable[[Reply], None], *command: bytes | str | int) -> None:
        """Send a read whose asker can wait: while Redis is away it is kept and sent on its return."""
        if self._commander is None:
            self._kept.append(lambda: self._ask(answered, *command))
            return

        def replied(reply: Reply) -> None:
            if isinstance(reply, ConnectionError):
                self._kept.append(lambda: self._ask(answered, *command))
            else:
                answered(reply)

        self._commander.send(replied, *command)

    def publish_durable(
        self, app_id: str, channel: str, events: Sequence[DurableEvent], cache_ms: int, done: PublishHandler
    ) -> None:
        """See `base.Broker.publish_durable`."""
        if self._commander is None:
            asyncio.get_running_loop().call_soon(done, ConnectionError("not connected to Redis"))
        else:
            self._durable.publish(self._commander, app_id, channel, events, cache_ms, done)

    def publish_transient(self, app_id: str, channel: str, message: bytes) -> bool:
        """See `base.Broker.publish_transient`."""
        if self._commander is None:
            return False
        self._commander.send(None, self.PUBLISH, live_topic(app_id, channel), message)
        return True

    # --- what Redis says ------------------------------------------------------------------------------------------

    def _heard(self, reply: Reply) -> None:
        self._is_heard = True
        if not isinstance(reply, list):
            return
        kind = reply[0]
        if kind == b"message":
            self._message(reply[1], reply[2])
        elif kind == b"subscribe":
            self._subscribed(reply[1])

    def _arrived(self, arrivals: list[Arrival]) -> None:
        self._is_heard = True
        self._listener.arrived(arrivals)

    def _message(self, topic: bytes, message: bytes) -> None:
        named = self._topics.get(topic)
        if named is not None:
            try:
                publication = decode_publication(message)
            except MalformedPublicationError:
                _log.warning("broker.malformed_publication", topic=topic.decode(errors="replace"))
                return
            app_id, channel, listener = named
            listener.published(app_id, channel, publication)
        elif (app := self._control.get(topic)) is not None:
            try:
                command = decode_command(message)
            except (msgspec.DecodeError, msgspec.ValidationError):
                _log.warning("broker.malformed_command", topic=topic.decode(errors="replace"))
                return
            self._listener.commanded(app, command)
        elif (beside := self._beside.get(topic)) is not None:
            self._heard_beside(topic, message, *beside)

    @staticmethod
    def _heard_beside(topic: bytes, message: bytes, app_id: str, channel: str, listener: BesideListener) -> None:
        try:
            publication = decode_publication(message)
        except MalformedPublicationError:
            _log.warning("broker.malformed_publication", topic=topic.decode(errors="replace"))
            return
        listener.published(app_id, channel, publication)

    def _subscribed(self, topic: bytes) -> None:
        if (app := self._control.get(topic)) is not None:
            for hear in self.on_listening:
                hear(app)
        if (beside := self._beside.get(topic)) is not None:
            beside[2].heard(beside[0], beside[1])
        named = self._topics.get(topic)
        if named is None or self._commander is None:
            return
        app_id, channel, listener = named
        place = listener.place(app_id, channel)
        self._commander.send(
            self._positioned(topic, place),
            "EVALSHA",
            self._open_sha,
            2,
            meta_key(app_id, channel),
            log_key(app_id, channel),
            secrets.token_hex(6),
            self._limits_for(channel).meta_seconds * 1000,
            place.epoch,
            place.offset,
            place.event_id,
        )

    def _positioned(self, topic: bytes, known: Place) -> Callable[[Reply], None]:
        """A handler for the place that Redis answers: `opened` for this topic."""
        named = self._topics.get(topic)

        def positioned(reply: Reply) -> None:
            if isinstance(reply, Exception):
                if self._commander is not None and named is not None:
                    self._open_anew(self._commander, named[0], named[1], reply)  # it must not stay half open
            elif named is not None and self._topics.get(topic) == named:
                place = Place(reply[0].decode(), int(reply[1]), reply[2].decode())
                app_id, channel, listener = named
                if known.epoch not in ("", place.epoch):
                    _log.warning("broker.history_lost", channel=channel, epoch=known.epoch, offset=known.offset)
                listener.opened(app_id, channel, place, reaches=bool(reply[3]))

        return positioned

    # --- staying connected ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, listen, reconnect with backoff and jitter; ends by cancellation only."""
        failures = 0
        while True:
            try:
                await self._connect()
            except (OSError, TimeoutError, hiredis.HiredisError) as error:  # LOADING and the like are replies
                failures += 1
                if failures in (1, 10) or failures % 60 == 0:
                    _log.warning("broker.unreachable", failures=failures, error=str(error) or type(error).__name__)
                self._drop()
            else:
                _log.info("broker.connected", channels=len(self._topics), failures=failures)
                failures = 0
                await self._until_lost()
                _log.warning("broker.lost")
            delay = min(RECONNECT_CAP_SECONDS, 0.02 * 2 ** min(failures, 8))
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _connect(self) -> None:
        self._lost.clear()
        address = await find_master(self._address)
        self._commander = await connect(address, lambda _reply: None, self._lost.set)
        if self._address.sentinels:
            await check_is_master(self._commander)
        self._open_sha = (await self._commander.call("SCRIPT", "LOAD", OPEN_SCRIPT)).decode()
        known, self._run_id = self._run_id, await _run_id(self._commander)
        self.has_restarted = known != self._run_id or not known
        if known and self.has_restarted:
            self._restarted_at = asyncio.get_running_loop().time()
        for listener in self.on_connected:
            listener()
        subscriber = await connect(address, self._heard, self._lost.set)
        reader = make_push_reader(self._targets, self._arrived, self._heard)
        subscriber.listen(reader.feed)
        self._to_subscribe = []
        topics = [*self._control, *self._beside, *self._topics]
        for start in range(0, len(topics), _SUBSCRIBE_BATCH):
            self._subscribe(subscriber, topics[start : start + _SUBSCRIBE_BATCH])
        self._subscriber = subscriber
        kept, self._kept = self._kept, []
        for ask in kept:
            ask()

    async def _until_lost(self) -> None:
        """Wait for either connection to end; probe both, so that a half-open one is found within two probes."""
        silent_probes = 0
        while True:
            self._is_heard = False
            try:
                async with asyncio.timeout(self._probe_seconds):
                    await self._lost.wait()
            except TimeoutError:
                pass
            else:
                break
            try:
                async with asyncio.timeout(self._probe_seconds):
                    if self._commander is not None:
                        await self._commander.call("PING")
            except (OSError, TimeoutError, hiredis.HiredisError):
                break
            silent_probes = 0 if self._is_heard else silent_probes + 1
            if silent_probes > 1:
                break
            if self._subscriber is not None:
                self._subscriber.send(None, "PING")
        self._drop()

    def _drop(self) -> None:
        commander, subscriber = self._commander, self._subscriber
        self._commander = self._subscriber = None
        for connection in (commander, subscriber):
            if connection is not None:
                connection.abort()

    async def aclose(self) -> None:
        """Drop both connections; `run` is to be cancelled by its owner."""
        self._drop()


async def _run_id(commander: RespConnection) -> str:
    """Which life of which Redis this is; empty when it does not say. Raises: OSError, TimeoutError."""
    try:
        info = await commander.call("INFO", "server")
    except hiredis.ReplyError:  # not permitted
        return ""
    return next((line[7:].decode() for line in bytes(info).splitlines() if line.startswith(b"run_id:")), "")


def _history_page(reply: Reply) -> HistoryPage | None:
    if not isinstance(reply, list):
        return None
    (epoch, offset), entries = reply
    publications: list[Publication] = []
    for _entry_id, fields in entries:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        publications.append(decode_publication(named[b"m"]))
    return HistoryPage((epoch or b"").decode(), int(offset or 0), publications)
