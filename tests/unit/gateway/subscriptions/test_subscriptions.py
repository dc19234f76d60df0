"""Joining, recovering and catching up, with a broker that answers when the test says so."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from sharedjox_contracts.publication import Header, Publication
from sharedjox_gateway.apps import App
from sharedjox_gateway.broker.base import NOWHERE, BrokerListener, HistoryPage, Place
from sharedjox_gateway.broker.durable import DurableEvent, PublishHandler
from sharedjox_gateway.connection.connection import Connection
from sharedjox_gateway.history import MAX_KEPT_BYTES, MOST_JOINED, HistoryReader, Replay
from sharedjox_gateway.hub.channel import Channel
from sharedjox_gateway.hub.hub import Hub
from sharedjox_gateway.protocol.messages import Position
from sharedjox_gateway.stats import Stats
from sharedjox_gateway.subscriptions import LINGER_SWEEPS, Subscriptions

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

    def open(self, _app_id: str, channel: str, listener: BrokerListener | None = None) -> None:
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
        self.subscriptions = Subscriptions(self.hub, self.stats, lambda _connection, name: self.joined.append(name))
        self.broker = ScriptedBroker()
        self.subscriptions.attach(self.broker)

    def turn(self) -> None:
        while self._turns:
            self._turns.popleft()()

    def join(self, peer: Peer, recover: Position | None = None) -> None:
        self.subscriptions.join(peer.connection, CHANNEL, recover)

    def opened(self, offset: int, epoch: str = "E", *, reaches: bool = True) -> None:
        self.subscriptions.opened("1", CHANNEL, Place(epoch, offset, f"id-{offset}" if offset else ""), reaches=reaches)

    def place(self) -> Place:
        return self.subscriptions.place("1", CHANNEL)

    def publish(self, *offsets: int, epoch: str = "E") -> None:
        for offset in offsets:
            self.subscriptions.published("1", CHANNEL, publication(offset, epoch))

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


def test_a_join_is_answered_when_the_channel_is_open_and_not_before() -> None:
    bench, peer = Bench(), Peer("1.1")
    bench.join(peer)
    assert peer.take() == []
    assert bench.broker.opened == [CHANNEL]
    bench.opened(7)
    assert position_of(peer.take()[0]) == {"position": {"epoch": "E", "offset": 7}}


def test_many_first_joins_open_the_channel_once() -> None:
    bench = Bench()
    peers = [Peer(f"{number}.1") for number in range(5)]
    for peer in peers:
        bench.join(peer)
    bench.opened(0)
    assert bench.broker.opened == [CHANNEL]
    assert all(len(peer.take()) == 1 for peer in peers)


def test_events_that_come_while_the_channel_opens_are_sorted_by_its_position() -> None:
    bench, peer = Bench(), Peer("1.1")
    bench.join(peer)
    bench.publish(6, 7, 8)
    bench.opened(7)
    bench.turn()
    acknowledged, *events = peer.take()
    assert position_of(acknowledged)["position"]["offset"] == 8
    assert events == []
    bench.publish(9)
    bench.turn()
    assert peer.offsets() == [9]


def test_a_position_covers_events_that_wait_to_be_written_to_others() -> None:
    bench = Bench()
    first = bench.joined_peer()
    bench.publish(1, 2)
    late = Peer("2.2")
    bench.join(late)
    bench.turn()
    bench.publish(3)
    bench.turn()
    assert first.offsets() == [1, 2, 3]
    acknowledged, *events = late.take()
    assert position_of(acknowledged)["position"]["offset"] == 2
    assert [event["offset"] for event in events] == [3]


def test_recovery_replays_what_was_missed_then_goes_on_live() -> None:
    bench = Bench()
    bench.joined_peer(10)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 7))
    bench.publish(11)  # while history is read
    assert bench.answer(page(8, 11)) == 7
    bench.turn()
    bench.publish(12)
    bench.turn()
    acknowledged, *events = peer.take()
    assert position_of(acknowledged) == {"position": {"epoch": "E", "offset": 7}, "recovered": True, "replayed": 4}
    assert [event["offset"] for event in events] == [8, 9, 10, 11, 12]


def test_a_history_read_too_early_is_read_again() -> None:
    bench = Bench()
    bench.joined_peer(10)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 8))
    bench.publish(11)
    bench.answer(page(9, 10))
    assert peer.take() == []
    bench.answer(page(9, 11))
    bench.turn()
    assert peer.offsets() == [9, 10, 11]


def test_entries_newer_than_what_came_live_are_left_to_the_live_stream() -> None:
    bench = Bench()
    bench.joined_peer(10)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 9))
    bench.answer(page(10, 12))
    bench.publish(11, 12)
    bench.turn()
    assert peer.offsets() == [10, 11, 12]


def test_many_recoveries_share_one_read() -> None:
    bench = Bench()
    bench.joined_peer(100)
    peers = [Peer(f"{number}.2") for number in range(50)]
    for number, peer in enumerate(peers):
        bench.join(peer, Position("E", 50 + number))
    assert bench.answer(page(51, 100)) == 50
    assert not bench.broker.reads
    assert [len(peer.offsets()) for peer in peers] == [50 - number for number in range(50)]


def test_a_page_serves_those_who_come_later_until_something_is_published() -> None:
    bench = Bench()
    bench.joined_peer(10)
    bench.join(Peer("2.2"), Position("E", 5))
    bench.answer(page(6, 10))
    later = Peer("3.2")
    bench.join(later, Position("E", 7))
    assert later.offsets() == [8, 9, 10]
    assert not bench.broker.reads
    bench.publish(11)
    latest = Peer("4.2")
    bench.join(latest, Position("E", 7))
    assert latest.take() == []
    assert bench.answer(page(8, 11)) == 7
    assert latest.offsets() == [8, 9, 10, 11]


def test_who_is_further_back_than_a_page_has_history_read_for_it() -> None:
    bench = Bench()
    bench.joined_peer(10)
    near, far = Peer("2.2"), Peer("3.2")
    bench.join(near, Position("E", 8))
    bench.join(far, Position("E", 2))
    assert bench.answer(page(9, 10)) == 8
    assert near.offsets() == [9, 10]
    assert far.take() == []
    assert bench.answer(page(3, 10)) == 2
    assert far.offsets() == [3, 4, 5, 6, 7, 8, 9, 10]


def test_a_page_is_not_used_for_another_epoch_or_after_an_outage_or_for_long() -> None:
    bench = Bench()
    bench.joined_peer(10)
    bench.join(Peer("2.2"), Position("E", 5))
    bench.answer(page(6, 10))
    stranger = Peer("3.2")
    bench.join(stranger, Position("other", 7))
    assert position_of(stranger.take()[0])["recovered"] is False
    bench.opened(10)
    bench.join(Peer("4.2"), Position("E", 7))
    assert bench.answer(page(8, 10)) == 7
    bench.subscriptions.sweep()
    bench.join(Peer("5.2"), Position("E", 8))
    assert bench.answer(page(9, 10)) == 8


def test_the_pages_of_all_channels_together_have_a_limit() -> None:
    broker = ScriptedBroker()
    reader = HistoryReader(broker)
    channels = [Channel("1", f"private-{number}") for number in range(3)]
    replays: list[Replay] = []

    def ask(channel: Channel) -> None:
        reader.replay(channel, Position("E", 0), replays.append)

    third = Publication(1, "E", Header("e", event_id="id"), b"x" * (MAX_KEPT_BYTES * 2 // 5 // (1 + MOST_JOINED)))
    for channel in channels:
        channel.advance("E", 1, "id")
        ask(channel)
        broker.reads.popleft()[1](HistoryPage("E", 1, [third]))
    ask(channels[2])
    ask(channels[1])
    assert not broker.reads
    ask(channels[0])
    assert len(broker.reads) == 1, "the oldest page made room"
    assert [replay.recovered for replay in replays] == [True] * 5


def test_a_page_that_was_cut_is_neither_kept_nor_the_answer_for_those_who_are_nearer() -> None:
    bench = Bench()
    bench.joined_peer(30)
    far, near = Peer("2.2"), Peer("3.2")
    bench.join(far, Position("E", 0))
    bench.join(near, Position("E", 25))
    bench.answer(page(1, 10, head=30))  # reads end after ten entries here
    assert position_of(far.take()[0])["recovered"] is False
    assert bench.answer(page(26, 30)) == 25
    assert near.offsets() == [26, 27, 28, 29, 30]


def test_a_recovery_that_meets_an_outage_waits_for_its_end_and_tells_of_no_loss() -> None:
    bench = Bench()
    bench.joined_peer(10)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 8))
    bench.answer(None)
    assert peer.take() == []
    bench.opened(10)
    bench.answer(page(9, 10))
    acknowledged, *events = peer.take()
    assert position_of(acknowledged)["recovered"] is True
    assert [event["offset"] for event in events] == [9, 10]


def test_history_that_no_longer_reaches_back_is_told() -> None:
    bench = Bench()
    bench.joined_peer(10)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 3))
    bench.answer(page(6, 10))
    acknowledged, *events = peer.take()
    assert position_of(acknowledged) == {"position": {"epoch": "E", "offset": 10}, "recovered": False, "replayed": 0}
    assert events == []


def test_another_epoch_is_told_without_reading() -> None:
    bench = Bench()
    bench.joined_peer(10)
    peer = Peer("2.2")
    bench.join(peer, Position("other", 3))
    assert position_of(peer.take()[0])["recovered"] is False
    assert not bench.broker.reads


def test_a_client_that_is_up_to_date_is_told_so_without_reading() -> None:
    bench = Bench()
    bench.joined_peer(10)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 10))
    assert position_of(peer.take()[0]) == {
        "position": {"epoch": "E", "offset": 10},
        "recovered": True,
        "replayed": 0,
    }
    assert not bench.broker.reads


def test_a_client_that_another_node_served_sooner_gets_nothing_twice() -> None:
    bench = Bench()
    first = bench.joined_peer(8)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 10))
    assert bench.answer(page(9, 11)) == 8
    assert bench.answer(page(11, 11)) == 10
    bench.publish(9, 10, 11, 12)
    bench.turn()
    acknowledged, *events = peer.take()
    assert position_of(acknowledged) == {"position": {"epoch": "E", "offset": 10}, "recovered": True, "replayed": 1}
    assert [event["offset"] for event in events] == [11, 12]
    assert first.offsets() == [9, 10, 11, 12]


def test_a_position_from_the_future_is_refused() -> None:
    bench = Bench()
    bench.joined_peer(8)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 999))
    bench.answer(page(9, 9))
    assert position_of(peer.take()[0])["recovered"] is False


def test_repeats_are_dropped_and_gaps_are_filled_from_history_in_order() -> None:
    bench = Bench()
    peer = bench.joined_peer()
    bench.publish(1, 1, 4)
    assert bench.answer(page(2, 4)) == 1
    bench.publish(4, 5)
    bench.turn()
    assert peer.offsets() == [1, 2, 3, 4, 5]


def test_after_an_outage_members_get_what_came_meanwhile() -> None:
    bench = Bench()
    peer = bench.joined_peer(3)
    bench.opened(6)
    bench.publish(7)
    bench.answer(page(4, 6))
    bench.turn()
    assert peer.offsets() == [4, 5, 6, 7]


def test_an_outage_without_events_costs_nothing() -> None:
    bench = Bench()
    peer = bench.joined_peer(3)
    bench.opened(3)
    assert not bench.broker.reads
    assert peer.take() == []


def test_an_outage_that_outlasts_history_is_told_to_every_member() -> None:
    bench = Bench()
    peer = bench.joined_peer(3)
    bench.opened(50)
    bench.answer(page(21, 50))
    bench.publish(51)
    bench.turn()
    acknowledged, *events = peer.take()
    assert position_of(acknowledged) == {"position": {"epoch": "E", "offset": 50}, "recovered": False, "replayed": 0}
    assert [event["offset"] for event in events] == [51]


def test_a_redis_that_lost_everything_is_told_and_its_new_events_are_delivered() -> None:
    bench = Bench()
    peer = bench.joined_peer(3)
    bench.opened(2, epoch="F")
    bench.answer(page(4, 3, epoch="F", head=2))
    assert bench.answer(page(1, 2, epoch="F")) == 0
    bench.turn()
    acknowledged, *events = peer.take()
    assert position_of(acknowledged) == {"position": {"epoch": "F", "offset": 0}, "recovered": False, "replayed": 0}
    assert [(event["epoch"], event["offset"]) for event in events] == [("F", 1), ("F", 2)]


def test_the_place_names_the_newest_event_however_it_came() -> None:
    bench = Bench()
    assert bench.place() == NOWHERE
    bench.joined_peer(3)
    assert bench.place() == Place("E", 3, "id-3")
    bench.publish(4)
    assert bench.place() == Place("E", 4, "id-4")
    bench.publish(7)
    bench.answer(page(5, 7))
    assert bench.place() == Place("E", 7, "id-7")


def test_a_redis_that_lost_its_newest_events_is_told_once_its_new_epoch_is_known() -> None:
    bench = Bench()
    peer = bench.joined_peer(9)
    bench.join(Peer("2.2"), Position("E", 12))  # reads history before the channel is opened anew
    bench.answer(page(10, 9, head=7))
    assert peer.take() == []
    bench.opened(0, epoch="F")
    bench.answer(page(10, 9, epoch="F", head=0))
    bench.answer(page(1, 0, epoch="F"))
    bench.turn()
    assert position_of(peer.take()[0])["recovered"] is False


def test_a_history_that_was_cut_behind_the_outage_is_told_even_if_it_seems_to_fit() -> None:
    bench = Bench()
    peer = bench.joined_peer(3)
    bench.opened(6, reaches=False)
    bench.publish(7)
    bench.turn()
    acknowledged, *events = peer.take()
    assert position_of(acknowledged) == {"position": {"epoch": "E", "offset": 6}, "recovered": False, "replayed": 0}
    assert [event["offset"] for event in events] == [7]


def test_a_join_ahead_of_this_node_is_answered_after_an_outage_too() -> None:
    bench = Bench()
    bench.joined_peer(8)
    peer = Peer("2.2")
    bench.join(peer, Position("E", 10))
    bench.answer(None)
    bench.opened(8)
    bench.answer(page(9, 8))
    assert position_of(peer.take()[0])["recovered"] is False


def test_a_lost_answer_leaves_everything_to_the_next_opening() -> None:
    bench = Bench()
    peer = bench.joined_peer(3)
    bench.opened(4)
    bench.answer(None)
    bench.publish(5)
    bench.opened(5)
    bench.answer(page(4, 5))
    bench.turn()
    assert peer.offsets() == [4, 5]


def test_joining_twice_is_acknowledged_twice_and_drops_no_event() -> None:
    bench = Bench()
    peer = bench.joined_peer()
    bench.publish(1)
    bench.join(peer)
    bench.turn()
    messages = peer.take()
    assert position_of(messages[0])["position"]["offset"] == 0
    assert [message["offset"] for message in messages[1:]] == [1]
    assert bench.stats.subscriptions == 1


def test_a_revoked_channel_is_not_given_to_a_join_that_was_waiting() -> None:
    bench, peer = Bench(), Peer("1.1")
    bench.join(peer)
    peer.connection.denied = {CHANNEL}
    bench.opened(0)
    (message,) = peer.take()
    assert message["event"] == "pusher:subscription_error"
    assert bench.joined == [CHANNEL]


def test_an_empty_channel_is_closed_after_a_while_and_not_when_somebody_returns() -> None:
    bench = Bench()
    peer = bench.joined_peer()
    bench.subscriptions.leave_all(peer.connection)
    bench.subscriptions.sweep()
    bench.join(peer)
    for _ in range(LINGER_SWEEPS + 1):
        bench.subscriptions.sweep()
    assert bench.broker.closed == []
    bench.subscriptions.leave_all(peer.connection)
    for _ in range(LINGER_SWEEPS):
        bench.subscriptions.sweep()
    assert bench.broker.closed == [CHANNEL]
    assert bench.hub.channel_count == 0


class StockPeer(Peer):
    """A client that knows nothing of positions but answers pings."""

    def answer_pings(self, bench: Bench) -> None:
        data, kept = self.written, b""
        while data:
            length, head = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
            if data[0] == 0x89:
                bench.subscriptions.confirmations.ponged(self.connection, data[head : head + length])
            else:
                kept += data[: head + length]
            data = data[head + length :]
        self.written = kept


def stock_join(bench: Bench, peer: Peer, client_id: str = "tab") -> None:
    bench.subscriptions.join(peer.connection, CHANNEL, None, client_id)


def test_a_stock_client_is_replayed_what_it_did_not_confirm() -> None:
    bench, peer = Bench(), StockPeer("1.1")
    stock_join(bench, peer)
    bench.opened(0)
    bench.publish(1, 2)
    bench.turn()
    bench.subscriptions.confirmations.tick()
    peer.answer_pings(bench)
    bench.publish(3)
    bench.turn()
    bench.subscriptions.confirmations.tick()  # never answered: the tab's network is gone
    bench.subscriptions.leave_all(peer.connection)
    bench.publish(4)
    successor = StockPeer("2.2")
    stock_join(bench, successor)
    assert bench.answer(page(3, 4)) == 2
    acknowledged, *events = successor.take()
    assert position_of(acknowledged)["recovered"] is True
    assert [event["offset"] for event in events] == [3, 4]


def test_what_waits_to_be_written_is_not_confirmed_by_an_earlier_ping() -> None:
    bench, peer = Bench(), StockPeer("1.1")
    stock_join(bench, peer)
    bench.opened(0)
    bench.publish(1)
    bench.turn()
    bench.subscriptions.confirmations.tick()
    bench.publish(2)
    bench.turn()
    peer.answer_pings(bench)
    assert bench.broker.positions["tab"] == Position("E", 1)


def test_leaving_a_channel_forgets_the_position_and_losing_the_socket_does_not() -> None:
    bench, peer = Bench(), StockPeer("1.1")
    stock_join(bench, peer)
    bench.opened(5)
    bench.subscriptions.leave_all(peer.connection)
    assert bench.broker.positions == {"tab": Position("E", 5)}
    back = StockPeer("2.2")
    stock_join(bench, back)
    channel = bench.hub.channel("1", CHANNEL)
    assert channel is not None
    bench.subscriptions.leave(back.connection, channel)
    assert bench.broker.positions == {}


def test_a_denied_channel_is_given_back_only_when_the_app_lifted_the_denial() -> None:
    bench = Bench()
    bench.joined_peer()
    peer = Peer("2.2")
    peer.connection.denied = {CHANNEL}
    bench.broker.denials = {"2.2"}
    bench.join(peer)
    assert peer.take()[0]["event"] == "pusher:subscription_error"
    bench.broker.denials = set()
    bench.join(peer)
    assert position_of(peer.take()[0])
    assert peer.connection.denied == set()
