"""A client that names its position gets what came after it, once and in order, or is told that it cannot."""

from __future__ import annotations

from sharedjox_gateway.protocol.messages import Position

from tests.unit.gateway.subscriptions.bench import Bench, Peer, page, position_of


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
