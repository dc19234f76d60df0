"""Members of a channel while Redis is away, comes back, or comes back with another past."""

from __future__ import annotations

from sharedjox_gateway.broker.base import NOWHERE, Place
from sharedjox_gateway.protocol.messages import Position

from tests.unit.gateway.subscriptions.bench import Bench, Peer, page, position_of


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
