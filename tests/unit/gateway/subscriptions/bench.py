"""Subscriptions on a bench: a broker that answers when the test says so, and turns of the loop by hand."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from sharedjox_contracts.publication import Header, Publication
from sharedjox_gateway.apps import App
from sharedjox_gateway.broker.base import BrokerListener, HistoryPage, Place
from sharedjox_gateway.broker.durable import DurableEvent, PublishHandler
from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.feed import ChannelFeed
from sharedjox_gateway.hub.hub import Hub
from sharedjox_gateway.protocol.messages import Position
from sharedjox_gateway.stats import Stats
from sharedjox_gateway.subscriptions import Subscriptions

APP = App(id="1", key="key", secret="secret")
CHANNEL = "private-a"


class ScriptedBroker:
    """Remembers what it was asked; the test answers."""

    is_connected = True

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.positions: dict[str, Position] = {}
        self.denials: set[str] = set()
        self.reads: deque[tuple[int, Callable[[HistoryPage | None], None]]] = deque()

    def open(
        self, _app_id: str, channel: str, listener: BrokerListener | None = None, *, target: object = None
    ) -> None:
        self.opened.append(channel)

    def close(self, _app_id: str, channel: str) -> None:
        self.closed.append(channel)

    def read_history(self, _app_id: str, _channel: str, after: int, done: Callable[[HistoryPage | None], None]) -> None:
        self.reads.append((after, done))

    def save_position(self, _app_id: str, _channel: str, client_id: str, position: Position) -> None:
        self.positions[client_id] = position

    def load_position(
        self, _app_id: str, _channel: str, client_id: str, done: Callable[[Position | None], None]
    ) -> None:
        done(self.positions.get(client_id))

    def forget_position(self, _app_id: str, _channel: str, client_id: str) -> None:
        self.positions.pop(client_id, None)

    def read_denial(self, _app_id: str, _channel: str, socket_id: str, done: Callable[[bool], None]) -> None:
        done(socket_id in self.denials)

    def publish_durable(
        self, _app_id: str, _channel: str, _events: Sequence[DurableEvent], _cache_ms: int, _done: PublishHandler
    ) -> None:
        msg = "joining publishes nothing"
        raise AssertionError(msg)

    def publish_transient(self, _app_id: str, _channel: str, _message: bytes) -> bool:
        return True


class Peer:
    """A connection's far end: the JSON messages that were written to it."""

    def __init__(self, socket_id: str) -> None:
        self.written = b""
        self.connection = Connection(cast("Any", None), APP, socket_id, 7, cast("Any", self))

    def write(self, data: bytes) -> None:
        self.written += data

    def take(self) -> list[dict[str, Any]]:
        """The messages since the last call."""
        messages, data = [], self.written
        while data:
            length, head = data[1], 2
            if length == 126:
                length, head = int.from_bytes(data[2:4], "big"), 4
            messages.append(json.loads(data[head : head + length]))
            data = data[head + length :]
        self.written = b""
        return messages

    def offsets(self) -> list[int]:
        """The offsets of the events since the last call."""
        return [message["offset"] for message in self.take() if "offset" in message]


def publication(offset: int, epoch: str = "E") -> Publication:
    frame = json.dumps({"event": "e", "channel": CHANNEL, "data": "{}", "epoch": epoch, "offset": offset})
    return Publication(offset, epoch, Header("e", event_id=f"id-{offset}"), frame.encode())


def page(first: int, last: int, epoch: str = "E", head: int | None = None) -> HistoryPage:
    return HistoryPage(epoch, last if head is None else head, [publication(n, epoch) for n in range(first, last + 1)])


class Bench:
    def __init__(self) -> None:
        self._turns: deque[Callable[[], None]] = deque()
        self.stats = Stats()
        self.hub: Hub[Connection] = Hub(self._turns.append, self.stats)
        self.joined: list[str] = []
        self.broker = ScriptedBroker()
        self.feed = ChannelFeed(self.hub, self.stats, lambda _app_id, _command: None)
        self.feed.attach(self.broker)
        self.subscriptions = Subscriptions(
            self.hub, self.stats, self.broker, self.feed, lambda _connection, name: self.joined.append(name)
        )

    def turn(self) -> None:
        while self._turns:
            self._turns.popleft()()

    def join(self, peer: Peer, recover: Position | None = None) -> None:
        self.subscriptions.join(peer.connection, CHANNEL, recover)

    def opened(self, offset: int, epoch: str = "E", *, reaches: bool = True) -> None:
        self.feed.opened("1", CHANNEL, Place(epoch, offset, f"id-{offset}" if offset else ""), reaches=reaches)

    def place(self) -> Place:
        return self.feed.place("1", CHANNEL)

    def publish(self, *offsets: int, epoch: str = "E") -> None:
        for offset in offsets:
            self.feed.published("1", CHANNEL, publication(offset, epoch))

    def answer(self, answer: HistoryPage | None) -> int:
        after, done = self.broker.reads.popleft()
        done(answer)
        return after

    def joined_peer(self, offset: int = 0) -> Peer:
        peer = Peer("1.1")
        self.join(peer)
        self.opened(offset)
        peer.take()
        return peer


def position_of(message: dict[str, Any]) -> dict[str, Any]:
    assert message["event"] == "pusher_internal:subscription_succeeded"
    data: dict[str, Any] = json.loads(message["data"])
    return data
