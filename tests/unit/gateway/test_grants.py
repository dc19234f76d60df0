"""Who is authorized anew after Redis forgot grants, with a Redis that answers when the test says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

from sharedjox_gateway.broker.resp import Reply
from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.grants import GrantWatch

from tests.unit.gateway.subscriptions.bench import Peer


class ScriptedRedis:
    """The broker's and its command connection's side that the watch sees."""

    def __init__(self) -> None:
        self.commander: ScriptedRedis | None = self
        self.is_connected = True
        self.has_restarted = False
        self.on_connected: list[Callable[[], None]] = []
        self.asked: deque[tuple[tuple[object, ...], Callable[[Reply], None]]] = deque()

    def send(self, done: Callable[[Reply], None], *command: object) -> None:
        self.asked.append((command, done))

    def answer(self, command: str, reply: Reply) -> None:
        """Answer the oldest command, which must be this one."""
        (name, *_), done = self.asked.popleft()
        assert name == command
        done(reply)


class Bench:
    def __init__(self) -> None:
        self.redis = ScriptedRedis()
        self.connections: dict[str, Connection] = {}
        self.sent_away: list[Connection] = []
        self.watch = GrantWatch(cast("Any", self.redis), self.connections, self.sent_away.extend, lambda: 0.0)

    def admit(self, socket_id: str) -> Connection:
        connection = self.connections[socket_id] = Peer(socket_id).connection
        assert self.watch.admit(connection)
        return connection

    def confirm_mark(self) -> None:
        self.watch.tick()
        self.redis.answer("SET", b"OK")
        while self.redis.asked:
            self.redis.answer("EXISTS", 1)

    def restart(self, kept: Reply) -> None:
        """A new life of Redis with this mark left of the old one."""
        self.redis.is_connected = self.redis.has_restarted = True
        for listener in self.redis.on_connected:
            listener()
        self.redis.answer("GET", kept)


def test_a_clock_that_ticks_while_redis_is_being_found_again_hides_nothing_that_was_forgotten() -> None:
    bench = Bench()
    forgotten = bench.admit("1.1")
    bench.confirm_mark()
    bench.redis.is_connected = False  # its commands pass already; what it is, is still being asked
    bench.watch.tick()
    assert not bench.redis.asked, "a mark written now would be taken for one that Redis kept"
    bench.restart(None)
    assert bench.sent_away == [forgotten]


def test_who_joined_before_the_mark_that_redis_kept_stays() -> None:
    bench = Bench()
    bench.admit("1.1")
    bench.confirm_mark()
    forgotten = bench.admit("2.2")
    bench.confirm_mark()
    bench.restart(b"1")
    assert bench.sent_away == [forgotten]


def test_a_restart_that_lost_nothing_sends_nobody_away() -> None:
    bench = Bench()
    bench.admit("1.1")
    bench.confirm_mark()
    bench.restart(b"1")
    assert bench.sent_away == []
