"""What Redis pushes is read alike by the code in C and by hiredis, however the bytes are cut into reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_contracts.publication import Header, decode_publication, encode_header
from sharedjox_gateway.broker import pushes
from sharedjox_gateway.broker.pushes import PushReader, Targets, make_push_reader, make_targets
from sharedjox_gateway.hub.channel import Arrival
from sharedjox_gateway.protocol.websocket import encode_frame, payload_of

TOPIC, OTHER, UNKNOWN = b"sj:{1:private-a}:live", b"sj:{1:chat}:live", b"sj:{1}:control"
TARGETS: dict[bytes, Any] = {TOPIC: "private-a", OTHER: "chat"}
ID = "0123456789abcdef-0000001-00000002-be"


def implementations() -> dict[str, bool]:
    found = {"hiredis": False}
    if pushes._native() is not None:
        found["native"] = True
    return found


IMPLEMENTATIONS = implementations()


def resp(*parts: bytes | int | None) -> bytes:
    """An array as Redis writes it."""
    lines = [b"*%d\r\n" % len(parts)]
    for part in parts:
        if part is None:
            lines.append(b"$-1\r\n")
        elif isinstance(part, int):
            lines.append(b":%d\r\n" % part)
        else:
            lines.append(b"$%d\r\n%b\r\n" % (len(part), part))
    return b"".join(lines)


def publication(header: Header, frame: bytes = b"{}", *, offset: int = 7, epoch: str = "abc") -> bytes:
    return b"%d %b %b\n%b" % (offset, epoch.encode(), encode_header(header), frame)


def message(content: bytes, topic: bytes = TOPIC, kind: bytes = b"message") -> bytes:
    return resp(kind, topic, content)


def targets(*, use_native: bool) -> Targets:
    """Those of TARGETS."""
    found = make_targets(use_native=use_native)
    for topic, target in TARGETS.items():
        found[topic] = target
    return found


def read(reads: Sequence[bytes], *, use_native: bool) -> list[Any]:
    """All that is heard, in order: arrivals as tuples, other replies as lists."""
    heard: list[Any] = []
    reader = make_push_reader(targets(use_native=use_native), heard.extend, heard.append)
    for data in reads:
        reader.feed(data)
    return heard


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def heard(request: pytest.FixtureRequest) -> Callable[..., list[Any]]:
    return lambda *reads: read(reads, use_native=IMPLEMENTATIONS[request.param])


def test_switched_off_the_code_in_c_is_not_used() -> None:
    assert type(make_push_reader(make_targets(use_native=False), lambda _: None, lambda _: None)) is PushReader


def test_a_plain_event_is_ready_to_be_sent(heard: Callable[..., list[Any]]) -> None:
    frame = b'{"event":"job.claimed"}'
    content = publication(Header("job.claimed", event_id=ID, committed_at_us=1_764_150_000_123_456), frame)
    arrival = ("private-a", 7, "abc", "job.claimed", ID, 1_764_150_000_123_456, encode_frame(frame))
    assert heard(message(content)) == [arrival]
    assert heard(message(content, kind=b"smessage")) == [arrival]


def test_an_event_with_a_request_id_is_plain(heard: Callable[..., list[Any]]) -> None:
    content = publication(Header("e", event_id=ID, request_id="r-1"))
    assert heard(message(content)) == [("private-a", 7, "abc", "e", ID, 0, encode_frame(b"{}"))]


def test_an_event_without_history_is_plain(heard: Callable[..., list[Any]]) -> None:
    content = publication(Header("client-typing"), offset=0, epoch="-")
    assert heard(message(content, OTHER)) == [("chat", 0, "-", "client-typing", "", 0, encode_frame(b"{}"))]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 300_000])
def test_frames_of_every_length_are_complete(heard: Callable[..., list[Any]], size: int) -> None:
    frame = b"x" * size
    (arrival,) = heard(message(publication(Header("e"), frame)))
    assert arrival[6] == encode_frame(frame)
    assert payload_of(arrival[6]) == frame


@pytest.mark.parametrize(
    "header",
    [
        Header("e", event_id=ID, except_socket_id="1.2"),
        Header("e", event_id=ID, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        Header("pusher_internal:member_added", presence="abc 7"),
    ],
)
def test_what_delivery_has_to_look_at_goes_the_general_way(heard: Callable[..., list[Any]], header: Header) -> None:
    content = publication(header)
    assert heard(message(content)) == [[b"message", TOPIC, content]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"7",
        b"7 abc",
        b"7 abc {}\n{}",
        b'x abc {"e":"e"}\n{}',
        b'7 abc {"e":"e"}',
        b'7 abc {"e":"e"\n{}',
        b'7 abc {"e":5}\n{}',
        b'7 abc {"e":"e","t":01}\n{}',
        b'7 abc {"e":"a\xff"}\n{}',
        b'7 abc {"e":"e","i":"\\\\\\"}\n{}',
        b"9" * 30 + b" abc {}\n{}",
    ],
)
def test_what_is_no_publication_goes_the_general_way(heard: Callable[..., list[Any]], content: bytes) -> None:
    assert heard(message(content)) == [[b"message", TOPIC, content]]


def test_commands_and_answers_keep_their_places_between_events(heard: Callable[..., list[Any]]) -> None:
    event = publication(Header("e", event_id=ID))
    pong = resp(b"pong", b"")
    stream = [
        resp(b"subscribe", TOPIC, 1), message(event), message(b"command", UNKNOWN), message(event, OTHER), pong,
        message(event), b"-MOVED 7 host:1\r\n", message(event), message(event),
    ]  # fmt: skip
    for reads in ([b"".join(stream)], stream):
        found = heard(*reads)
        assert [each[0] if isinstance(each, tuple) else type(each) for each in found] == [
            list, "private-a", list, "chat", list, "private-a", hiredis.ReplyError, "private-a", "private-a",
        ]  # fmt: skip


def test_a_topic_that_nobody_opened_goes_the_general_way(heard: Callable[..., list[Any]]) -> None:
    content = publication(Header("e"))
    assert heard(message(content, UNKNOWN)) == [[b"message", UNKNOWN, content]]


@pytest.mark.parametrize("members", [{}, {"member": 0}, {1: 0, 2: 0}, ["no dict"], None])
def test_what_a_target_has_for_members_changes_nothing(members: object) -> None:
    target = SimpleNamespace(members=members)
    for native in IMPLEMENTATIONS.values():
        found = make_targets(use_native=native)
        found[TOPIC] = target
        arrivals: list[Arrival] = []
        make_push_reader(found, arrivals.extend, arrivals.append).feed(message(publication(Header("e"))))
        assert [arrival[:2] for arrival in arrivals] == [(target, 7)]


def test_what_breaks_the_protocol_of_redis_is_an_error(heard: Callable[..., list[Any]]) -> None:
    with pytest.raises(hiredis.ProtocolError):
        heard(message(publication(Header("e"))) + b"?\r\n")


def test_a_huge_message_may_come_in_many_reads(heard: Callable[..., list[Any]]) -> None:
    big = message(publication(Header("big"), b"x" * 1_000_000))
    stream = message(publication(Header("before"))) + big + message(publication(Header("after")))
    reads = [stream[start : start + 40_000] for start in range(0, len(stream), 40_000)]
    assert [arrival[3] for arrival in heard(*reads)] == ["before", "big", "after"]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
HEADERS = st.builds(
    Header,
    event=TEXTS,
    event_id=TEXTS | st.just(ID),
    except_socket_id=st.sampled_from(["", "", "", "1.2"]),
    committed_at_us=st.integers(0, 2**60) | st.just(0),
    request_id=TEXTS | st.just(""),
    presence=st.sampled_from(["", "", "", "abc 1"]),
)
CONTENTS = st.builds(
    publication,
    HEADERS,
    st.binary(max_size=400),
    offset=st.integers(0, 10**17),
    epoch=st.text("0123456789abcdef-", min_size=1, max_size=14),
)
MESSAGES = st.builds(
    message,
    CONTENTS | st.binary(max_size=40),
    st.sampled_from([TOPIC, OTHER, UNKNOWN]),
    st.sampled_from([b"message", b"smessage", b"pmessage"]),
)
REPLIES = MESSAGES | st.sampled_from([resp(b"subscribe", TOPIC, 1), resp(b"pong", b""), b"+PONG\r\n", b"-ERR no\r\n"])


def as_told(heard: list[Any]) -> list[Any]:
    """Comparable, and the same for an event whether it came the short way or the general one."""
    told: list[Any] = []
    for each in heard:
        if isinstance(each, tuple):
            _, offset, epoch, event, event_id, committed_at_us, frame = each
            told.append((each[0], offset, epoch, event, event_id, committed_at_us, payload_of(frame)))
        elif isinstance(each, list) and len(each) == 3 and each[1] in TARGETS and each[0] in (b"message", b"smessage"):
            told.append(_as_arrival(each))
        else:
            told.append(repr(each))
    return told


def _as_arrival(reply: list[bytes]) -> Any:
    try:
        found = decode_publication(reply[2])
    except ValueError:
        return repr(reply)
    header = found.header
    if header.except_socket_id or header.presence or header.traceparent:
        return repr(reply)
    target = TARGETS[reply[1]]
    return target, found.offset, found.epoch, header.event, header.event_id, header.committed_at_us, found.frame


@given(replies=st.lists(REPLIES, max_size=8), cuts=st.lists(st.integers(0, 4000), max_size=8))
def test_all_ways_tell_the_same_in_the_same_order(replies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(replies)
    at = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reads = [stream[start:end] for start, end in pairwise(at)]
    told = [as_told(read(reads, use_native=native)) for native in IMPLEMENTATIONS.values()]
    assert told == [told[0]] * len(told)
    assert len(told[0]) == len(replies)


def test_arrivals_of_one_read_come_together() -> None:
    event = message(publication(Header("e")))
    for native in IMPLEMENTATIONS.values():
        calls: list[list[Arrival]] = []
        reader = make_push_reader(targets(use_native=native), calls.append, lambda _: None)
        reader.feed(event * 3 + event[:20])
        reader.feed(event[20:] + event)
        assert [len(call) for call in calls] == [3, 2]


def test_more_events_than_are_looked_at_together_come_in_order_up_to_what_is_none() -> None:
    events = [message(publication(Header("e"), offset=n), TOPIC if n % 3 else OTHER) for n in range(1, 101)]
    content = publication(Header("e", except_socket_id="1.2"), offset=101)
    for native in IMPLEMENTATIONS.values():
        for before in (31, 32, 33, 64, 100):
            stream = [*events[:before], message(content), *events[before:], message(content)]
            heard = read([b"".join(stream)], use_native=native)
            assert [isinstance(each, list) for each in heard].index(True) == before
            assert [each[1] for each in heard if isinstance(each, tuple)] == list(range(1, 101))
            assert [each for each in heard if isinstance(each, list)] == [[b"message", TOPIC, content]] * 2
