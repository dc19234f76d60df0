"""Fan-out against a model: whoever joins, leaves and sends in between, each member gets what is its, once, in order."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sharedjox_gateway.hub.channel import Arrival, Channel, Delivery, Member
from sharedjox_gateway.hub.fanout import Fanout, offer_to_each
from sharedjox_gateway.hub.walk import MAX_JOINED_BYTES


class RecordingMember:
    def __init__(self, socket_id: str) -> None:
        self.socket_id = socket_id
        self.writes: list[bytes | memoryview] = []
        self.offer: Callable[[bytes | memoryview], object] = self.writes.append

    @property
    def events(self) -> list[int]:
        return [int(number) for number in b"".join(self.writes).split()]


class RecordingObserver:
    def __init__(self) -> None:
        self.deliveries = 0

    def delivered(self, _channel: Channel, deliveries: list[Delivery], members: int, _size: int) -> None:
        self.deliveries += len(deliveries) * members

    def delivered_now(self, _arrivals: list[Arrival], deliveries: int, _size: int) -> None:
        self.deliveries += deliveries


class ManualLoop:
    """Runs scheduled functions one at a time, when the test says so."""

    def __init__(self) -> None:
        self._ready: deque[Callable[[], None]] = deque()

    def call_soon(self, function: Callable[[], None]) -> None:
        self._ready.append(function)

    def turn(self) -> bool:
        if not self._ready:
            return False
        self._ready.popleft()()
        return True

    def run(self) -> None:
        while self.turn():
            pass


class Bench:
    """A fan-out with a manual loop and members by number."""

    def __init__(self, slice_members: int = 2, *, alone_members: int = 0, cut_at: int = 0) -> None:
        self.loop = ManualLoop()
        self.members: dict[str, RecordingMember] = {}
        self.observer = RecordingObserver()
        self.cut_at = cut_at
        """Members after which each call is cut short; 0 for never."""
        self.fanout = Fanout(
            self.loop.call_soon, self.members.get, self.observer, slice_members, alone_members, self.send
        )

    def send(self, members: list[Member], start: int, stop: int, data: bytes) -> int:
        return offer_to_each(members, start, min(stop, start + self.cut_at) if self.cut_at else stop, data)

    def member(self, number: int) -> RecordingMember:
        return self.members.setdefault(f"{number}.0", RecordingMember(f"{number}.0"))


def delivery(number: int, except_socket_id: str = "") -> Delivery:
    return Delivery(b"%d " % number, "test", except_socket_id)


def test_nothing_is_written_before_the_loop_turns() -> None:
    bench = Bench()
    channel = Channel("1", "a")
    channel.add(bench.member(1))
    bench.fanout.deliver(channel, delivery(1))
    assert bench.member(1).writes == []
    bench.loop.run()
    assert bench.member(1).events == [1]


def test_what_comes_in_one_turn_is_one_write_with_the_same_bytes_for_all() -> None:
    bench = Bench(slice_members=10)
    channel = Channel("1", "a")
    for number in range(3):
        channel.add(bench.member(number))
    for number in range(1, 5):
        bench.fanout.deliver(channel, delivery(number))
    bench.loop.run()
    writes = [bench.member(number).writes for number in range(3)]
    assert [len(write) for write in writes] == [1, 1, 1]
    assert writes[0][0] is writes[1][0] is writes[2][0]
    assert bench.observer.deliveries == 12


def test_a_big_channel_lets_others_have_their_turn() -> None:
    bench = Bench(slice_members=2)
    big, small = Channel("1", "big"), Channel("1", "small")
    for number in range(100):
        big.add(bench.member(number))
    small.add(bench.member(1000))
    bench.fanout.deliver(big, delivery(1))
    bench.fanout.deliver(small, delivery(2))
    bench.loop.turn()
    bench.loop.turn()
    assert bench.member(1000).events == [2]
    assert bench.member(99).events == []


def test_a_channel_that_is_alone_goes_on_until_other_work_waits() -> None:
    bench = Bench(slice_members=2, alone_members=50)
    big = Channel("1", "big")
    for number in range(60):
        big.add(bench.member(number))
    bench.fanout.deliver(big, delivery(1))
    bench.loop.turn()
    assert [bench.member(number).events for number in (49, 50)] == [[1], []]
    bench.cut_at = 4
    bench.loop.turn()
    assert [bench.member(number).events for number in (53, 54)] == [[1], []]
    bench.loop.run()
    assert bench.member(59).events == [1]


def test_a_channel_that_is_not_alone_serves_no_more_than_a_slice() -> None:
    bench = Bench(slice_members=2, alone_members=50)
    first, second = Channel("1", "first"), Channel("1", "second")
    for number in range(60):
        first.add(bench.member(number))
        second.add(bench.member(100 + number))
    bench.fanout.deliver(first, delivery(1))
    bench.fanout.deliver(second, delivery(2))
    bench.loop.turn()
    assert [bench.member(number).events for number in (1, 2, 100)] == [[1], [], []]
    bench.loop.turn()
    assert [bench.member(number).events for number in (2, 101, 102)] == [[], [2], []]


def walk_under_way() -> tuple[Bench, Channel]:
    """Event 1 has reached three of nine members."""
    bench = Bench(slice_members=3)
    channel = Channel("1", "a")
    for number in range(9):
        channel.add(bench.member(number))
    bench.fanout.deliver(channel, delivery(1))
    bench.loop.turn()
    return bench, channel


def test_an_event_that_comes_during_a_walk_sets_out_at_once_and_goes_around() -> None:
    bench, channel = walk_under_way()
    bench.fanout.deliver(channel, delivery(2, "404.404"))  # whose sender is elsewhere
    bench.loop.turn()
    assert [bench.member(number).events for number in (0, 3, 6)] == [[1], [1, 2], []]
    assert len(bench.member(3).writes) == 1
    bench.loop.turn()
    bench.loop.turn()
    assert [bench.member(number).events for number in range(9)] == [[1, 2]] * 9
    assert (channel.fanout, bench.observer.deliveries) == (None, 18)


def order_of_walks(bench: Bench, channel: Channel) -> Callable[[], list[int]]:
    """Has every member note when it is served; the result runs the loop and tells whose turn it was, in order."""
    served: list[int] = []
    for number in range(len(channel.members)):
        member = bench.member(number)

        def offer(data: bytes | memoryview, number: int = number, member: RecordingMember = member) -> None:
            served.append(number)
            member.writes.append(data)

        member.offer = offer

    def run() -> list[int]:
        served.clear()
        bench.loop.run()
        return served.copy()

    return run


def channel_of(bench: Bench, members: int) -> Channel:
    channel = Channel("1", "a")
    for number in range(members):
        channel.add(bench.member(number))
    return channel


def test_each_walk_begins_where_the_one_before_it_ended() -> None:
    bench = Bench(slice_members=3)
    channel = channel_of(bench, 10)
    run = order_of_walks(bench, channel)
    orders = []
    for number in (1, 2, 3):
        bench.fanout.deliver(channel, delivery(number))
        orders.append(run())
    assert orders == [[*range(10)], [*reversed(range(10))], [*range(10)]]


def test_walks_go_back_and_forth_whoever_joins_and_leaves() -> None:
    bench = Bench(slice_members=3)
    channel = channel_of(bench, 10)
    run = order_of_walks(bench, channel)
    bench.fanout.deliver(channel, delivery(1))
    assert run() == [*range(10)]
    channel.discard(bench.member(4))
    bench.fanout.deliver(channel, delivery(2))
    assert run() == [9, 8, 7, 6, 5, 3, 2, 1, 0]
    channel.add(bench.member(4))
    bench.fanout.deliver(channel, delivery(3))
    assert run() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 4]


def test_what_comes_during_a_walk_back_goes_around_the_same_way() -> None:
    bench = Bench(slice_members=3)
    channel = channel_of(bench, 9)
    run = order_of_walks(bench, channel)
    bench.fanout.deliver(channel, delivery(1))
    run()
    bench.fanout.deliver(channel, delivery(2))
    bench.loop.turn()
    bench.fanout.deliver(channel, delivery(3))
    channel.discard(bench.member(7))
    bench.loop.turn()
    assert [bench.member(number).events for number in (0, 5, 6, 8)] == [[1], [1, 2], [1, 2], [1, 2]]
    bench.loop.run()
    assert [bench.member(number).events for number in range(9) if number != 7] == [[1, 2, 3]] * 8


@pytest.mark.parametrize("walks_before", [0, 1])
def test_who_joins_between_two_events_of_a_walk_gets_the_later_one(walks_before: int) -> None:
    bench = Bench(slice_members=3)
    channel = channel_of(bench, 10)
    for number in range(1, 1 + walks_before):
        bench.fanout.deliver(channel, delivery(number))
        bench.loop.run()
    bench.fanout.deliver(channel, delivery(7))
    channel.add(bench.member(10))
    channel.add(bench.member(11))
    bench.fanout.deliver(channel, delivery(8, bench.member(0).socket_id))
    bench.loop.run()
    before = [1][:walks_before]
    assert bench.member(0).events == [*before, 7]
    assert [bench.member(number).events for number in range(1, 10)] == [[*before, 7, 8]] * 9
    assert [bench.member(number).events for number in (10, 11)] == [[8], [8]]


def test_what_all_have_got_is_told_by_the_oldest_event_under_way() -> None:
    bench = Bench(slice_members=3)
    channel = Channel("1", "a")
    for number in range(9):
        channel.add(bench.member(number))
    seen = []
    for offset in (1, 2, 3):
        channel.advance("epoch", offset, str(offset))
        bench.fanout.deliver(channel, Delivery(b"%d " % offset, "test", offset=offset))
        seen.append(channel.served_offset())
        bench.loop.turn()
    while bench.loop.turn():
        seen.append(channel.served_offset())
    assert seen == [0, 0, 0, 2, 3]
    assert [bench.member(number).events for number in range(9)] == [[1, 2, 3]] * 9


def test_an_event_that_is_not_for_all_waits_for_the_next_walk() -> None:
    bench, channel = walk_under_way()
    bench.fanout.deliver(channel, delivery(2, bench.member(8).socket_id))
    bench.fanout.deliver(channel, delivery(3))
    bench.loop.turn()
    assert bench.member(3).events == [1]
    bench.loop.run()
    assert [bench.member(number).events for number in (0, 7, 8)] == [[1, 2, 3], [1, 2, 3], [1, 3]]
    assert bench.observer.deliveries == 9 + 2 * 9


def test_who_joins_during_a_walk_gets_only_what_comes_then() -> None:
    bench, channel = walk_under_way()
    channel.add(bench.member(9))
    bench.fanout.deliver(channel, delivery(2))
    channel.discard(bench.member(4))
    bench.loop.run()
    assert [bench.member(number).events for number in (3, 4, 9)] == [[1, 2], [], [2]]


def test_the_sender_does_not_get_its_own_event_but_gets_the_others() -> None:
    bench = Bench()
    channel = Channel("1", "a")
    sender, other = bench.member(1), bench.member(2)
    channel.add(sender)
    channel.add(other)
    for event in (delivery(1), delivery(2, sender.socket_id), delivery(3)):
        bench.fanout.deliver(channel, event)
    bench.loop.run()
    assert sender.events == [1, 3]
    assert other.events == [1, 2, 3]


def test_who_was_left_out_of_one_walk_is_on_the_next() -> None:
    bench = Bench()
    channel = Channel("1", "a")
    for number in range(20):
        channel.add(bench.member(number))
    for number, sender in ((1, ""), (2, "3.0"), (3, "")):
        bench.fanout.deliver(channel, delivery(number, sender))
        bench.loop.run()
    assert bench.member(3).events == [1, 3]
    assert all(bench.member(number).events == [1, 2, 3] for number in range(20) if number != 3)


def test_who_has_left_is_not_kept() -> None:
    bench = Bench()
    channel = Channel("1", "a")
    for number in range(20):
        channel.add(bench.member(number))
    bench.fanout.deliver(channel, delivery(1))
    bench.loop.run()
    gone = weakref.ref(bench.member(3))
    channel.discard(bench.members.pop("3.0"))
    assert gone() is None


def test_an_unknown_sender_excludes_nobody() -> None:
    bench = Bench()
    channel = Channel("1", "a")
    channel.add(bench.member(1))
    bench.fanout.deliver(channel, delivery(1, "404.404"))
    bench.loop.run()
    assert bench.member(1).events == [1]


def test_a_member_that_leaves_while_it_is_written_to_ends_nothing_else() -> None:
    bench = Bench(slice_members=10)
    channel = Channel("1", "a")
    for number in range(4):
        channel.add(bench.member(number))
    leaver = bench.member(0)
    leaver.offer = lambda _data: channel.discard(leaver)
    bench.fanout.deliver(channel, delivery(1))
    bench.loop.run()
    assert [bench.member(number).events for number in range(1, 4)] == [[1], [1], [1]]


def test_a_huge_backlog_goes_out_in_bounded_writes() -> None:
    bench = Bench()
    channel = Channel("1", "a")
    channel.add(bench.member(1))
    frame = b"7" * (MAX_JOINED_BYTES // 4) + b" "
    for _ in range(20):
        bench.fanout.deliver(channel, Delivery(frame, "test"))
    bench.loop.run()
    sizes = [len(write) for write in bench.member(1).writes]
    assert sum(sizes) == 20 * len(frame)
    assert max(sizes) <= MAX_JOINED_BYTES + len(frame)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 11)),
        st.tuples(st.just("leave"), st.integers(0, 11)),
        st.tuples(st.just("deliver"), st.integers(-1, 13)),  # beyond 11: a sender that is no member here
        st.tuples(st.just("turn"), st.just(0)),
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 5), st.integers(0, 9), st.integers(0, 3))
@settings(max_examples=600)
def test_members_get_exactly_what_came_while_they_were_members(
    steps: list[tuple[str, int]], slice_members: int, alone_members: int, cut_at: int
) -> None:
    """A member gets every event between its join and its leave; what was under way when it left it may miss, no more.

    The position it was told at its join covers all earlier events, so none of those may come.
    """
    bench = Bench(slice_members, alone_members=alone_members, cut_at=cut_at)
    channel = Channel("1", "a")
    event = 0
    entitled: dict[int, list[int]] = {}
    gone: dict[int, list[list[int]]] = {}
    for step, number in steps:
        if step == "join" and number not in entitled:
            channel.add(bench.member(number))
            entitled[number] = []
        elif step == "leave" and number in entitled:
            channel.discard(bench.member(number))
            gone.setdefault(number, []).append(entitled.pop(number))
        elif step == "deliver":
            event += 1
            bench.fanout.deliver(channel, delivery(event, f"{number}.0" if number >= 0 else ""))
            for member, events in entitled.items():
                if member != number:
                    events.append(event)
        else:
            bench.loop.turn()
    bench.loop.run()
    for number in {*entitled, *gone}:
        received = bench.member(number).events
        stays = gone.get(number, [])
        for stay in stays:
            got = [one for one in received if one in stay]
            assert got == stay[: len(got)], "a prefix of what came during the stay"
        last = entitled.get(number, [])
        assert received[len(received) - len(last) :] == last
        assert sorted(received) == received
        assert set(received) <= {one for stay in (*stays, last) for one in stay}
        assert len(set(received)) == len(received)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_no_channel_is_left_queued_or_spinning(count: int) -> None:
    bench = Bench()
    channels = [Channel("1", str(number)) for number in range(count)]
    for channel in channels:
        channel.add(bench.member(1))
        bench.fanout.deliver(channel, delivery(1))
        channel.discard(bench.member(1))
    bench.loop.run()
    assert not any(channel.is_queued or channel.pending or channel.fanout for channel in channels)
