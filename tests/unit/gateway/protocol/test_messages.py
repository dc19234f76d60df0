"""Client messages: whatever is wrong is an error with a text, never a crash."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_gateway.protocol import messages
from sharedjox_gateway.protocol.messages import MalformedMessageError, Position

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

SUBSCRIBES = st.fixed_dictionaries(
    {"channel": st.text(max_size=5) | JSON_VALUES}, optional={"auth": st.text() | JSON_VALUES}
)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"data":{}}',
        b'{"event":7}',
        b'{"event":null}',
        b'{"event":"a","channel":7}',
        b'{"event":"\xff"}',
        b"[" * 100_000,
        b'{"event":"a","data":' + b"[" * 100_000,
    ],
)
def test_malformed_envelopes(payload: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        messages.decode_client_message(payload)


@given(
    event=st.sampled_from(["pusher:subscribe", "pusher:subscribed", "pusher:ping"]) | JSON_VALUES,
    data=st.fixed_dictionaries(
        {"channel": st.text(max_size=5) | JSON_VALUES}, optional={"auth": st.text() | JSON_VALUES}
    )
    | JSON_VALUES,
    more=st.dictionaries(st.sampled_from(["channel", "event", "data", "x"]), JSON_VALUES, max_size=2),
)
def test_a_subscribe_read_in_one_go_is_the_one_read_in_two(
    event: object, data: object, more: dict[str, object]
) -> None:
    rest = json.dumps(more, separators=(",", ":"))[1:]
    first = json.dumps({"event": event, "data": data}, separators=(",", ":"))[:-1]
    payload = (first + ("," if more else "") + rest).encode()  # names may come twice
    plain = messages.read_plain_subscribe(payload)
    try:
        message = messages.decode_client_message(payload)
        general = messages.decode_subscribe(message) if message.event == "pusher:subscribe" else None
    except MalformedMessageError:
        general = None
    if plain is not None:
        assert plain == general
    elif general is not None:
        assert more or isinstance(data, str)  # only what pusher-js does not write is left to the general way


@pytest.mark.parametrize(
    "data",
    [
        "null",
        "7",
        "[]",
        '""',
        '"[]"',
        '"{"',
        "{}",
        '{"channel":null}',
        '{"channel":7}',
        '{"channel":["a"]}',
        '{"channel":"a","auth":7}',
        '{"channel":"a","auth":{}}',
        '{"channel":"a","channel_data":{}}',
    ],
)
def test_malformed_subscribes(data: str) -> None:
    message = messages.decode_client_message(b'{"event":"pusher:subscribe","data":%s}' % data.encode())
    with pytest.raises(MalformedMessageError):
        messages.decode_subscribe(message)


def test_a_subscribe_without_data_is_malformed() -> None:
    with pytest.raises(MalformedMessageError):
        messages.decode_subscribe(messages.decode_client_message(b'{"event":"pusher:subscribe"}'))


@pytest.mark.parametrize("wrap", [False, True])
def test_data_may_be_an_object_or_a_string_that_holds_one(wrap: bool) -> None:
    data = {"channel": "private-x", "auth": "k:s", "channel_data": None}
    body = json.dumps({"event": "pusher:subscribe", "data": json.dumps(data) if wrap else data})
    subscribe = messages.decode_subscribe(messages.decode_client_message(body.encode()))
    assert (subscribe.channel, subscribe.auth, subscribe.channel_data) == ("private-x", "k:s", None)


@given(JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_any_json_is_read_or_refused(event: object, data: object, channel: object) -> None:
    body = json.dumps({"event": event, "data": data, "channel": channel}).encode()
    with contextlib.suppress(MalformedMessageError):
        messages.decode_subscribe(messages.decode_client_message(body))


@pytest.mark.parametrize(
    "recover",
    [
        7,
        "x",
        [],
        {},
        {"epoch": "e"},
        {"offset": 1},
        {"epoch": 7, "offset": 1},
        {"epoch": "e", "offset": "1"},
        {"epoch": "e", "offset": -1},
        {"epoch": "", "offset": 1},
        {"epoch": "e" * 65, "offset": 1},
        {"epoch": "e", "offset": 1.5},
    ],
)
def test_malformed_positions(recover: object) -> None:
    with pytest.raises(MalformedMessageError):
        messages.decode_position(recover)


def test_a_position_is_read() -> None:
    assert messages.decode_position({"epoch": "abc", "offset": 7, "more": 1}) == Position("abc", 7)


def test_established_has_string_data_with_a_timeout() -> None:
    frame = json.loads(messages.connection_established("1.2", 120)[2:])
    assert isinstance(frame["data"], str)
    assert json.loads(frame["data"]) == {"socket_id": "1.2", "activity_timeout": 120}


def test_error_data_is_an_object_and_names_no_channel() -> None:
    frame = json.loads(messages.error_frame(None, "why")[2:])
    assert frame == {"event": "pusher:error", "data": {"code": None, "message": "why"}}


@given(
    st.from_regex(r"[A-Za-z0-9_\-=@,.;]{1,200}", fullmatch=True),
    st.text("0123456789abcdef", max_size=16),
    st.integers(0),
)
def test_the_quick_acknowledgement_is_the_general_one(channel: str, epoch: str, offset: int) -> None:
    quick = messages.subscribed_at(channel, epoch, offset)
    assert quick == messages.subscription_succeeded(channel, {"position": messages.position_data(epoch, offset)})


def test_the_first_frame_is_as_the_protocol_spells_it() -> None:
    assert messages.connection_established("123.456", 120) == messages.json_frame(
        {
            "event": "pusher:connection_established",
            "data": json.dumps({"socket_id": "123.456", "activity_timeout": 120}, separators=(",", ":")),
        }
    )
