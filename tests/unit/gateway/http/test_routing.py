"""Which paths are the API's, with any prefix, and what they mean."""

from __future__ import annotations

import pytest
from sharedjox_gateway.http.exchange import RefusedError
from sharedjox_gateway.http.routing import Endpoint, find_route, is_api_request


@pytest.mark.parametrize(
    "path",
    [
        "/apps/1",
        "/apps/1/",
        "/apps//events",
        "/apps/1/events/",
        "/apps/1/eventz",
        "/apps/1/channels//users",
        "/apps/1/channels/a/b",
        "/apps/1/users/7",
        "/users//terminate_connections",
        "/",
        "",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(RefusedError) as refused:
        find_route(path.encode())
    assert refused.value.answer.status == 404


@pytest.mark.parametrize("path", [b"/apps/1/channels/\xff", b"/apps/1/channels/%ff"])
def test_paths_that_are_not_utf8_are_refused(path: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        find_route(path)
    assert refused.value.answer.status == 400


@pytest.mark.parametrize(
    ("path", "endpoint", "app_id", "subject"),
    [
        ("/apps/1/events", Endpoint.EVENTS, "1", ""),
        ("/apps/1/batch_events", Endpoint.BATCH_EVENTS, "1", ""),
        ("/apps/1/channels", Endpoint.CHANNELS, "1", ""),
        ("/apps/1/connections", Endpoint.CONNECTIONS, "1", ""),
        ("/apps/1/channels/presence-a", Endpoint.CHANNEL, "1", "presence-a"),
        ("/apps/1/channels/a%40b", Endpoint.CHANNEL, "1", "a@b"),
        ("/apps/1/channels/a%2Fb", Endpoint.CHANNEL, "1", "a/b"),
        ("/apps/1/channels/a/users", Endpoint.USERS, "1", "a"),
        ("/apps/1/channels/a/events", Endpoint.CHANNEL_EVENTS, "1", "a"),
        ("/apps/1/channels/a/stats", Endpoint.STATS, "1", "a"),
        ("/apps/1/users/7/terminate_connections", Endpoint.TERMINATE, "1", "7"),
        ("/users/7/terminate_connections", Endpoint.TERMINATE, None, "7"),
        ("/sockets/v1/apps/1/events", Endpoint.EVENTS, "1", ""),
        ("/apps/apps/1/events", Endpoint.EVENTS, "1", ""),
    ],
)
def test_paths(path: str, endpoint: Endpoint, app_id: str | None, subject: str) -> None:
    route = find_route(path.encode())
    assert (route.endpoint, route.app_id, route.subject) == (endpoint, app_id, subject)


def test_a_prefix_is_left_out_of_the_first_signed_path() -> None:
    assert find_route(b"/sockets/apps/1/events").signed_paths == ("/apps/1/events", "/sockets/apps/1/events")


@pytest.mark.parametrize(
    ("line", "is_api"),
    [
        (b"POST /apps/1/events?a=b HTTP/1.1\r\n", True),
        (b"GET /sockets/apps/1/channels HTTP/1.1\r\n", True),
        (b"POST /users/7/terminate_connections HTTP/1.1\r\n", True),
        (b"DELETE /apps/1 HTTP/1.1\r\n", True),
        (b"GET http://gateway/apps/1/channels HTTP/1.1\r\n", True),
        (b"GET /metrics?x=/apps/ HTTP/1.1\r\n", False),
        (b"GET /app/key HTTP/1.1\r\n", False),
        (b"GET /healthz HTTP/1.1\r\nReferer: /apps/1\r\n", False),
        (b"\x16\x03\x01\x02", False),
    ],
)
def test_requests_are_recognised_by_their_first_line(line: bytes, is_api: bool) -> None:
    assert is_api_request(line) is is_api
