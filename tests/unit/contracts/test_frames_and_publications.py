import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_contracts.control import Close, TerminateUser, Unsubscribe, decode_command, encode_command
from sharedjox_contracts.frames import close_event_frame, open_event_frame
from sharedjox_contracts.publication import (
    Header,
    MalformedPublicationError,
    decode_publication,
    encode_header,
    encode_transient,
)
from sharedjox_contracts.redis_layout import live_topic, log_key, parse_live_topic


@given(st.text(max_size=200), st.one_of(st.none(), st.text(min_size=1, max_size=20)))
def test_an_opened_frame_closes_to_json(data: str, user_id: str | None) -> None:
    opened = open_event_frame(event="job.posted", channel="jobs.discovery", data=data, event_id="e1", user_id=user_id)
    frame = json.loads(close_event_frame(opened, epoch="abc", offset=7))
    assert frame["data"] == data
    assert (frame["id"], frame["epoch"], frame["offset"]) == ("e1", "abc", 7)
    assert frame.get("user_id") == user_id
    assert list(frame)[:3] == ["event", "data", "channel"]


HEADERS = st.builds(
    Header,
    event=st.text(max_size=30),
    event_id=st.text(max_size=40),
    except_socket_id=st.text(max_size=20),
    committed_at_us=st.integers(min_value=0, max_value=2**53),
    traceparent=st.text(max_size=60),
    request_id=st.text(max_size=60),
)


@given(HEADERS, st.binary(max_size=200))
def test_transient_publications_come_back(header: Header, frame: bytes) -> None:
    publication = decode_publication(encode_transient(header, frame))
    assert (publication.header, publication.frame) == (header, frame)
    assert not publication.is_durable


@given(HEADERS)
def test_headers_are_one_line(header: Header) -> None:
    assert b"\n" not in encode_header(header)


@pytest.mark.parametrize(
    "message", [b"", b"1", b"1 e", b"1 e {}", b"x e {}\n{}", b"1 e []\n{}", b"1 e {\n", b"\n\n", b"1 \xff {}\n"]
)
def test_malformed_publications(message: bytes) -> None:
    with pytest.raises(MalformedPublicationError):
        decode_publication(message)


@pytest.mark.parametrize(
    "command", [Unsubscribe("1.2", "private-job.1"), Close("1.2", 4009, "revoked"), TerminateUser("7")]
)
def test_commands_come_back(command: Unsubscribe | Close | TerminateUser) -> None:
    assert decode_command(encode_command(command)) == command


def test_commands_on_the_wire() -> None:
    assert encode_command(Unsubscribe("1.2", "private-job.1")) == (
        b'{"op":"unsubscribe","socketId":"1.2","channel":"private-job.1"}'
    )
    assert encode_command(Close("1.2", 4009, "session revoked")) == (
        b'{"op":"close","socketId":"1.2","code":4009,"reason":"session revoked"}'
    )


def test_topics_come_apart_and_keys_share_a_slot() -> None:
    assert parse_live_topic(live_topic("1001", "private-user.3")) == ("1001", "private-user.3")
    assert "{1001:private-user.3}" in log_key("1001", "private-user.3")
    with pytest.raises(ValueError, match="not a live topic"):
        parse_live_topic(log_key("1001", "a"))
