"""Who is on a channel, from when on, and where it stands then."""

from __future__ import annotations

from sharedjox_gateway.subscriptions import LINGER_SWEEPS

from tests.unit.gateway.subscriptions.bench import CHANNEL, Bench, Peer, position_of


def test_a_revoked_channel_is_not_given_to_a_join_that_was_waiting() -> None:
    bench, peer = Bench(), Peer("1.1")
    bench.join(peer)
    peer.connection.denied = {CHANNEL}
    bench.opened(0)
    (message,) = peer.take()
    assert message["event"] == "pusher:subscription_error"
    assert bench.joined == [CHANNEL]


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
