"""Events that come the short way, many at a time: what every member gets is what it would get one by one."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from sharedjox_contracts.publication import Publication
from sharedjox_gateway.broker.base import Place
from sharedjox_gateway.hub.channel import Arrival, Channel
from sharedjox_gateway.hub.fanout import SLICE_MEMBERS, SMALL_CHANNEL
from sharedjox_gateway.hub.walk import MEMBER_BYTES
from sharedjox_gateway.protocol.websocket import encode_frame

from .bench import CHANNEL, Bench, Peer, page, publication


def arrival(channel: Channel, event: Publication) -> Arrival:
    header = event.header
    frame = encode_frame(event.frame)
    return channel, event.offset, event.epoch, header.event, header.event_id, header.committed_at_us, frame


def transient(text: str, size: int = 0) -> Publication:
    frame = json.dumps({"event": "client-x", "channel": CHANNEL, "data": text + "x" * size}).encode()
    return Publication(0, "-", publication(1).header, frame)


class Writes(Peer):
    """A peer that counts writes."""

    count = 0

    def write(self, data: bytes) -> None:
        self.count += 1
        super().write(data)


def channel_of(bench: Bench, name: str = CHANNEL) -> Channel:
    found = bench.hub.channel("1", name)
    assert found is not None
    return found


def joined(bench: Bench, name: str, *peers: Peer) -> Channel:
    bench.hub.ensure_channel("1", name)
    for peer in peers:
        bench.subscriptions.join(peer.connection, name, None)
    bench.feed.opened("1", name, Place("E", 0, ""), reaches=True)
    for peer in peers:
        peer.take()
    return channel_of(bench, name)


def arrive(bench: Bench, *events: tuple[Channel, Publication]) -> None:
    bench.feed.arrived([arrival(channel, event) for channel, event in events])


def test_events_for_a_few_are_sent_before_the_next_thing_happens() -> None:
    bench, one, two = Bench(), Peer("1.1"), Peer("1.2")
    mine, ours = joined(bench, "private-1", one), joined(bench, "private-2", one, two)
    arrive(bench, (mine, publication(1)), (ours, publication(1)), (mine, publication(2)))
    assert one.offsets() == [1, 2, 1]  # of its first channel in one write, then of its second
    assert two.offsets() == [1]
    assert (mine.offset, mine.newest_id, ours.offset) == (2, "id-2", 1)
    assert (bench.stats.events_received, bench.stats.deliveries) == (3, 4)


def test_several_of_a_channel_leave_in_one_write() -> None:
    bench, peer = Bench(), Writes("1.1")
    channel = joined(bench, CHANNEL, peer)
    peer.count = 0
    arrive(bench, *((channel, publication(number)) for number in range(1, 20)))
    assert peer.offsets() == list(range(1, 20))
    assert peer.count == 1


def test_a_repeat_is_dropped_and_a_gap_is_filled_from_history_first() -> None:
    bench = Bench()
    peer = bench.joined_peer(5)
    channel = channel_of(bench)
    arrive(bench, *((channel, publication(offset)) for offset in (4, 5, 6, 9, 10)))
    assert peer.offsets() == [6]
    assert bench.answer(page(7, 10)) == 6
    bench.turn()
    assert peer.offsets() == [7, 8, 9, 10]
    assert bench.stats.events_received == 5
    assert bench.place() == Place("E", 10, "id-10")


def test_a_history_begun_anew_is_noticed() -> None:
    bench = Bench()
    peer = bench.joined_peer(5)
    arrive(bench, (channel_of(bench), publication(6, "F")))
    assert peer.take() == []
    assert len(bench.broker.reads) == 1


def test_what_is_held_back_holds_back_what_follows() -> None:
    bench = Bench()
    peer = bench.joined_peer(1)
    channel = channel_of(bench)
    arrive(bench, (channel, publication(3)))
    arrive(bench, (channel, transient("later")), (channel, publication(4)))
    assert peer.take() == []
    bench.answer(page(2, 4))
    bench.turn()
    events = peer.take()
    assert [event.get("offset", event["data"]) for event in events] == [2, 3, 4, "later"]


def test_while_something_waits_nothing_is_sent_past_it() -> None:
    bench, peer = Bench(), Peer("1.1")
    crowd = [Peer(f"2.{number}") for number in range(SMALL_CHANNEL + 1)]
    big, small = joined(bench, "private-big", peer, *crowd), joined(bench, "private-small", peer)
    arrive(bench, (small, publication(1)), (big, publication(1)), (small, publication(2)))
    assert peer.offsets() == [1]
    arrive(bench, (small, publication(3)))
    assert peer.offsets() == []
    bench.turn()
    assert peer.offsets() == [1, 2, 3]
    arrive(bench, (small, publication(4)))
    assert peer.offsets() == [4]


def test_one_read_sends_to_no_more_members_than_a_slice_before_others_have_their_turn() -> None:
    bench, peers = Bench(), [Peer(f"1.{number}") for number in range(SLICE_MEMBERS + 30)]
    channels = [joined(bench, f"private-{number}", peer) for number, peer in enumerate(peers)]
    arrive(bench, *((channel, publication(1)) for channel in channels))
    assert sum(bool(peer.written) for peer in peers) == SLICE_MEMBERS
    bench.turn()
    assert all(peer.offsets() == [1] for peer in peers)


def test_a_large_event_waits_for_a_turn() -> None:
    bench = Bench()
    peer = bench.joined_peer()
    arrive(bench, (channel_of(bench), transient("big", MEMBER_BYTES)))
    assert peer.take() == []
    bench.turn()
    assert len(peer.take()) == 1


def test_without_members_only_the_position_moves() -> None:
    bench = Bench()
    peer = bench.joined_peer()
    channel = channel_of(bench)
    bench.subscriptions.leave(peer.connection, channel)
    arrive(bench, (channel, publication(1)), (channel, publication(2)))
    assert channel.offset == 2
    other = Peer("1.2")
    bench.join(other)
    other.take()
    arrive(bench, (channel, publication(3)))
    assert other.offsets() == [3]
    assert peer.take() == []


def test_the_newest_event_of_a_cache_channel_is_kept() -> None:
    bench, peer = Bench(), Peer("1.1")
    channel = joined(bench, "private-cache-a")
    channel.add(peer.connection)
    arrive(bench, (channel, publication(1)))
    bench.turn()
    assert peer.offsets() == [1]
    assert channel.newest is not None
    assert channel.newest.offset == 1


@pytest.mark.parametrize("seed", range(30))
def test_a_random_stream_comes_to_the_same_both_ways(seed: int) -> None:
    dice = random.Random(seed)
    stream: list[tuple[str, Publication]] = []
    newest = dict.fromkeys(("private-0", "private-1", "private-2", "cache-3"), 0)
    for number in range(200):
        name = dice.choice(sorted(newest))
        if dice.random() < 0.2:
            stream.append((name, transient(f"t{number}")))
        else:
            newest[name] += 1
            stream.append((name, publication(newest[name])))
            if dice.random() < 0.1:
                stream.append((name, publication(dice.randint(1, newest[name]))))
    assert _received(stream, random.Random(seed), at_once=True) == _received(stream, random.Random(seed), at_once=False)


def _received(stream: list[tuple[str, Publication]], dice: random.Random, *, at_once: bool) -> Any:
    """What each member of each channel got, in order, and what was counted."""
    bench = Bench()
    sizes = {"private-0": 1, "private-1": 3, "private-2": SMALL_CHANNEL + 2, "cache-3": 2}
    peers = {name: [Peer(f"{name}.{number}") for number in range(size)] for name, size in sizes.items()}
    channels = {}
    for name, members in peers.items():
        channels[name] = joined(bench, name)
        for member in members:
            channels[name].add(member.connection)
    waiting = list(stream)
    while waiting:
        count = dice.randint(1, 12)
        batch, waiting = waiting[:count], waiting[count:]
        if at_once:
            arrive(bench, *((channels[name], event) for name, event in batch))
        else:
            for name, event in batch:
                bench.feed.published("1", name, event)
        if dice.random() < 0.5:
            bench.turn()
    bench.turn()
    places = {name: (channel.epoch, channel.offset, channel.newest_id) for name, channel in channels.items()}
    counts = (bench.stats.events_received, bench.stats.deliveries, bench.stats.bytes_delivered)
    return {name: [peer.take() for peer in members] for name, members in peers.items()}, places, counts
