"""Clients that know nothing of positions: what they confirmed is remembered by their `client_id`."""

from __future__ import annotations

from sharedjox_gateway.protocol.messages import Position

from tests.unit.gateway.subscriptions.bench import CHANNEL, Bench, Peer, page, position_of


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
