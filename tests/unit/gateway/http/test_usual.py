"""Requests that are taken apart without the parser: as the parser would, or not at all."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_gateway.http.usual import MAX_HEAD_BYTES, MAX_REMEMBERED, UsualRequest, UsualRequests

TARGET = "/apps/1001/events?auth_key=k&body_md5=0&auth_signature=1"
LIMIT = 1000


def head(*headers: str, target: str = TARGET, line: str = "") -> bytes:
    """A request's head."""
    return "\r\n".join([line or f"POST {target} HTTP/1.1", *headers, "", ""]).encode("latin-1")


def passed(data: bytes, *, keeps_alive: bool = True) -> UsualRequests:
    """The requests that are usual once this one was."""
    usual = UsualRequests()
    usual.learn(data, keeps_alive=keeps_alive)
    return usual


class Parsed:
    """What the parser says of a request."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_complete = False
        httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


def test_another_target_length_and_body_are_taken() -> None:
    usual = passed(head("Host: a", "Content-Length: 3", "X-Pusher-Library: b") + b"abc")
    other = head("Host: a", "content-length: 10", "X-Pusher-Library: b", target="/apps/7/batch_events?a=%C3%A9&b[]=2")
    found = usual.take(other + b"0123456789" + b"POST /apps/1/events", LIMIT)
    assert found == UsualRequest(b"/apps/7/batch_events", b"a=%C3%A9&b[]=2", b"0123456789", True, len(other) + 10)
    assert usual.take(head("Host: a", "Content-Length: 0", "X-Pusher-Library: b", target="/apps/7/events"), LIMIT) == (
        b"/apps/7/events", b"", b"", True, len(head("Host: a", "Content-Length: 0", "X-Pusher-Library: b",
                                                     target="/apps/7/events")),
    )  # fmt: skip


@pytest.mark.parametrize("keeps_alive", [True, False])
def test_whether_it_keeps_alive_is_what_the_parser_said(keeps_alive: bool) -> None:
    data = head("Content-Length: 1") + b"x"
    found = passed(data, keeps_alive=keeps_alive).take(data, LIMIT)
    assert found is not None
    assert found.keeps_alive is keeps_alive


KNOWN = head("Host: a", "Content-Length: 3", "Accept: b") + b"abc"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(head("Host: a", "Content-Length: 3", "Accept: c") + b"abc", id="another value"),
        pytest.param(head("Host: a", "Content-Length: 3", "accept: b") + b"abc", id="another case"),
        pytest.param(head("Content-Length: 3", "Host: a", "Accept: b") + b"abc", id="another order"),
        pytest.param(head("Host: a", "Content-Length: 3", "Accept: b", "X: y") + b"abc", id="a header more"),
        pytest.param(head("Host: a", "Content-Length: 3", "Content-Length: 3", "Accept: b") + b"abc", id="two lengths"),
        pytest.param(head("Host: a", "Content-Length: 3", "Transfer-Encoding: chunked", "Accept: b"), id="a coding"),
        pytest.param(head("Host: a", "Accept: b") + b"abc", id="no length"),
        pytest.param(head("Host: a", "Content-Length: +3", "Accept: b") + b"abc", id="a sign"),
        pytest.param(head("Host: a", "Content-Length: 3 ", "Accept: b") + b"abc", id="a space"),
        pytest.param(head("Host: a", "Content-Length : 3", "Accept: b") + b"abc", id="a space before the colon"),
        pytest.param(head("Host: a", "Content-Length: 0000000003", "Accept: b") + b"abc", id="ten digits"),
        pytest.param(head("Host: a", "Content-Length: 4", "Accept: b") + b"abc", id="a body that is not whole"),
        pytest.param(KNOWN[:-4], id="a head that is not whole"),
        pytest.param(KNOWN.replace(b"POST ", b"GET "), id="another method"),
        pytest.param(KNOWN.replace(b"POST ", b"POST  "), id="two spaces"),
        pytest.param(KNOWN.replace(b" HTTP/1.1", b" HTTP/1.0"), id="another version"),
        pytest.param(KNOWN.replace(b"/apps/", b"/app/"), id="another path"),
        pytest.param(KNOWN.replace(b"/apps/", b"http://g/apps/"), id="an absolute target"),
        pytest.param(KNOWN.replace(b"auth_key", b"auth key"), id="a space in the target"),
        pytest.param(KNOWN.replace(b"auth_key", b"auth\xc3\xa9"), id="a byte beyond ASCII in the target"),
        pytest.param(KNOWN.replace(b"auth_key", b"auth#key"), id="a fragment"),
        pytest.param(KNOWN.replace(b"auth_key", b"auth\x00key"), id="a control character in the target"),
        pytest.param(b"\r\n" + KNOWN, id="an empty line first"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_whatever_differs_goes_to_the_parser(data: bytes) -> None:
    usual = passed(KNOWN)
    assert usual.take(KNOWN, LIMIT) is not None
    assert usual.take(data, LIMIT) is None


def test_a_body_over_the_limit_goes_to_the_parser() -> None:
    assert passed(KNOWN).take(KNOWN, 3) is not None
    assert passed(KNOWN).take(KNOWN, 2) is None


def test_two_heads_that_are_alike_without_their_lengths_are_not_taken_for_each_other() -> None:
    """Where the length stood counts: `X: 1` may not be joined with what follows."""
    usual = passed(head("X: 1", "Content-Length: 1", "Y: 2") + b"x")
    for other in (("X: 1", "Y: 2", "Content-Length: 1"), ("Content-Length: 1", "X: 1", "Y: 2")):
        assert usual.take(head(*other) + b"x", LIMIT) is None


@pytest.mark.parametrize("value", ["1\n\nX", "1\n", "a\rb", "\r", "1\n Content-Length: 3"])
def test_a_head_with_bare_line_ends_is_not_learned(value: str) -> None:
    """Parsers differ about them, so where such a head ends is not ours to say."""
    data = head(f"X: {value}", "Content-Length: 3") + b"abc"
    assert passed(data).take(data, LIMIT) is None


def test_a_long_head_goes_to_the_parser() -> None:
    data = head("X: " + "x" * MAX_HEAD_BYTES, "Content-Length: 1") + b"x"
    assert passed(data).take(data, LIMIT) is None


def test_what_is_remembered_is_bounded_and_learned_again() -> None:
    usual = passed(KNOWN)
    for number in range(3 * MAX_REMEMBERED):
        usual.learn(head(f"X: {number}", "Content-Length: 1") + b"x", keeps_alive=True)
        assert len(usual) <= MAX_REMEMBERED
    assert usual.take(KNOWN, LIMIT) is None
    usual.learn(KNOWN, keeps_alive=True)
    assert usual.take(KNOWN, LIMIT) is not None


ANY_TARGET = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40),
    st.text(st.sampled_from("/?&=%[]@,;:.+~-_!'()*$aZ9"), max_size=40),
    st.text(st.characters(max_codepoint=0xFF), max_size=20),
)


@given(ANY_TARGET, st.binary(max_size=30), st.integers(-2, 2), st.sampled_from(["Content-Length", "content-length"]))
def test_whatever_is_taken_is_what_the_parser_says(tail: str, body: bytes, wrong_by: int, name: str) -> None:
    """Learned with one target and body, used with another: the parser must agree in every part."""
    usual = passed(head("Host: a", "Content-Length: 3") + b"abc")
    length = max(len(body) + wrong_by, 0)
    data = head("Host: a", f"{name}: {length}", target=f"/apps/{tail}") + body
    found = usual.take(data, LIMIT)
    if found is None:
        return
    parsed = Parsed(data[: found.size])
    assert parsed.is_complete
    url = b"%b?%b" % (found.path, found.query) if found.query or parsed.url.endswith(b"?") else found.path
    assert (parsed.url, parsed.body) == (url, found.body)
    assert parsed.headers == [(b"Host", b"a"), (name.encode(), b"%d" % length)]
