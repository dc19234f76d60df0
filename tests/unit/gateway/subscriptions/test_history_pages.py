"""Reads of history are few: those who come together share one, and its page serves those who come next."""

from __future__ import annotations

from sharedjox_contracts.publication import Header, Publication
from sharedjox_gateway.broker.base import HistoryPage
from sharedjox_gateway.history import MAX_KEPT_BYTES, MOST_JOINED, HistoryReader, Replay
from sharedjox_gateway.hub.channel import Channel
from sharedjox_gateway.protocol.messages import Position

from tests.unit.gateway.subscriptions.bench import Bench, Peer, ScriptedBroker, page, position_of


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
