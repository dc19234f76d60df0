"""Bodies of publishes: limits at and one over, names, forms. Nothing here may raise anything but a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_gateway.apps import AppLimits
from sharedjox_gateway.http.events import read_batch, read_channel_event, read_event, read_info
from sharedjox_gateway.http.exchange import RefusedError

LIMITS = AppLimits()
EVENT = {"name": "e", "channels": ["room"], "data": "{}"}


def refusal(body: Any, query: dict[str, str] | None = None, *, batch: bool = False) -> tuple[int, str]:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RefusedError) as refused:
        read_batch(encoded, LIMITS) if batch else read_event(encoded, query or {}, LIMITS)
    return refused.value.answer.status, refused.value.answer.body.decode()


def status_of(read: Callable[[], object]) -> int:
    """200, or the status of the refusal; anything else that is raised fails the test."""
    try:
        read()
    except RefusedError as refused:
        return refused.answer.status
    return 200


def accept(**changed: Any) -> Any:
    return read_event(json.dumps({**EVENT, **changed}).encode(), {}, LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"{",
        b"not json",
        b'{"name":"\xff"}',
        b'{"name":"e","channels":["room"],"data":"\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_object_in_utf8_is_refused(body: bytes) -> None:
    assert refusal(body)[0] == 400


@pytest.mark.parametrize("data", [{"a": 1}, [1], 1, True, 1.5])
def test_data_that_is_no_string_is_refused_with_what_to_do(data: Any) -> None:
    status, text = refusal({**EVENT, "data": data})
    assert status == 400
    assert '"data" must be a string: encode it as JSON' in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": None}, 'no "name"'),
        ({"name": ""}, 'no "name"'),
        ({"name": "x" * 201}, "201 of at most 200"),
        ({"name": "pusher:ping"}, "reserved"),
        ({"name": "pusher_internal:subscription_succeeded"}, "reserved"),
        ({"name": 7}, "Invalid body"),
        ({"data": None}, 'no "data"'),
        ({"channels": []}, "this one to 0"),
        ({"channels": None}, "this one to 0"),
        ({"channels": "room"}, "Invalid body"),
        ({"channels": [7]}, "Invalid body"),
        ({"channels": [""]}, "Invalid channel name"),
        ({"channels": ["a b"]}, "Invalid channel name"),
        ({"channels": ["room\n"]}, "Invalid channel name"),
        ({"channels": ["x" * 201]}, "201 of at most 200"),
        ({"channels": ["#room"]}, "Invalid channel name"),
        ({"channels": ["#server-to-user-"]}, "Invalid channel name"),
        ({"channels": ["room", "ro om"]}, "Invalid channel name"),
        ({"channels": [f"c{number}" for number in range(101)]}, "this one to 101"),
        ({"channels": ["private-encrypted-a", "room"]}, "encrypted"),
        ({"channels": ["room", "private-encrypted-cache-a"]}, "encrypted"),
        ({"socket_id": "1"}, "socket_id"),
        ({"socket_id": "1.2\n"}, "socket_id"),
        ({"socket_id": "a.b"}, "socket_id"),
        ({"socket_id": "1.2:room"}, "socket_id"),
        ({"socket_id": 1.2}, "Invalid body"),
        ({"info": "user_count,colour"}, "colour"),
        ({"id": ""}, "Invalid id"),
        ({"id": "x" * 65}, "Invalid id"),
        ({"id": 'a"b'}, "Invalid id"),
    ],
)
def test_what_is_wrong_is_said(changed: dict[str, Any], words: str) -> None:
    status, text = refusal({**EVENT, **changed})
    assert status == 400
    assert words in text


@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
def test_data_is_limited_in_utf8_bytes(letter: str) -> None:
    size = len(letter.encode())
    fits = letter * (LIMITS.max_event_bytes // size)
    assert accept(data=fits).data == fits
    over = letter * (LIMITS.max_event_bytes // size) + "x" * (LIMITS.max_event_bytes % size + 1)
    status, text = refusal({**EVENT, "data": over})
    assert status == 413
    assert "(10240 bytes)" in text
    assert f"it has {LIMITS.max_event_bytes + 1} bytes" in text


@pytest.mark.parametrize("number", [0, 11])
def test_a_batch_has_one_to_ten_events(number: int) -> None:
    event = {"name": "e", "channel": "room", "data": "{}"}
    assert refusal({"batch": [event] * number}, batch=True)[0] == 400


def test_one_bad_event_refuses_the_batch_and_is_named() -> None:
    event = {"name": "e", "channel": "room", "data": "{}"}
    status, text = refusal({"batch": [event, {**event, "channel": "ro om"}]}, batch=True)
    assert (status, text.startswith("batch[1]: ")) == (400, True)
    assert refusal({"batch": [event, {**event, "data": "x" * 10_241}]}, batch=True)[0] == 413
    assert refusal({"batch": [event, {**event, "data": {}}]}, batch=True)[0] == 400


def test_a_batch_takes_no_parameters_from_the_query() -> None:
    assert refusal(b"", batch=True)[0] == 400


def test_the_limits_themselves_pass() -> None:
    accept(name="x" * 200, channels=["y" * 200])
    assert len(accept(channels=[f"c{number}" for number in range(100)]).channels) == 100
    event = {"name": "e", "channel": "room", "data": "{}"}
    assert len(read_batch(json.dumps({"batch": [event] * 10}).encode(), LIMITS)) == 10


def test_channels_are_distinct_and_in_order() -> None:
    assert accept(channels=["b", "a", "b"]).channels == ("b", "a")


def test_one_encrypted_channel_named_twice_is_one() -> None:
    assert accept(channels=["private-encrypted-a"] * 2).channels == ("private-encrypted-a",)


@pytest.mark.parametrize("name", ["client-typing", "job.posted", "App\\Events\\JobPosted", "ünïcode", "pusher"])
def test_other_names_pass(name: str) -> None:
    assert accept(name=name).name == name


def test_null_and_missing_mean_the_same() -> None:
    assert accept(socket_id=None, info=None, id=None) == accept()


def test_server_to_user_channels_may_be_published_on() -> None:
    longest = "#server-to-user-" + "7" * 200
    assert accept(channels=[longest]).channels == (longest,)


def test_parameters_may_be_in_the_query_and_the_body_wins() -> None:
    query = {"name": "q", "data": "from the query", "channels": "a,b", "socket_id": "1.2"}
    assert read_event(b"", query, LIMITS).channels == ("a", "b")
    mixed = read_event(json.dumps({"name": "body"}).encode(), query, LIMITS)
    assert (mixed.name, mixed.data, mixed.socket_id) == ("body", "from the query", "1.2")


def test_the_deprecated_form_takes_any_text_as_data() -> None:
    event = read_channel_event("room", b"no json", {"name": "e", "socket_id": "1.2"}, LIMITS)
    assert (event.data, event.channels, event.socket_id) == ("no json", ("room",), "1.2")
    with pytest.raises(RefusedError):
        read_channel_event("room", b"\xff", {"name": "e"}, LIMITS)


def test_info_is_a_list_or_comma_separated() -> None:
    assert accept(info="user_count, subscription_count").info == ("user_count", "subscription_count")
    assert accept(info=["user_count", "user_count"]).info == ("user_count",)
    assert read_info("") == ()


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    assert status_of(lambda: read_event(body, {}, LIMITS)) in (200, 400, 413)
    assert status_of(lambda: read_batch(body, LIMITS)) in (200, 400, 413)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={name: _JSON for name in ("name", "data", "channels", "socket_id", "info")}))
def test_no_json_breaks_the_reader(body: dict[str, Any]) -> None:
    assert status_of(lambda: read_event(json.dumps(body).encode(), {}, LIMITS)) in (200, 400, 413)
