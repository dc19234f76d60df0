"""Paths of the HTTP API, with any prefix in front (`/sockets/apps/…`), as proxies and Laravel's `path` make them.

Source: Pusher Channels, "HTTP API"; the deprecated forms from its page of deprecated methods.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final
from urllib.parse import unquote

from msgspec import Struct

from .exchange import RefusedError

MAX_REMEMBERED: Final = 256


class Endpoint(Enum):
    """(name in metrics, method)."""

    EVENTS = ("events", "POST")
    BATCH_EVENTS = ("batch_events", "POST")
    CHANNELS = ("channels", "GET")
    CHANNEL = ("channel", "GET")
    USERS = ("users", "GET")
    TERMINATE = ("terminate_connections", "POST")
    CHANNEL_EVENTS = ("channel_events", "POST")
    STATS = ("channel_stats", "GET")
    CONNECTIONS = ("connections", "GET")

    def __init__(self, label: str, method: str) -> None:
        # Plain attributes, because properties of an Enum cost a microsecond each.
        self.label: Final = label
        """The name in metrics."""
        self.method: Final = method
        """The one method; GET includes HEAD."""


class Route(Struct, frozen=True):
    """A recognised path. `subject` is the channel or user in it, decoded.

    `signed_paths`: what clients may have signed. SDKs sign names as they are while HTTP libraries escape some of them
    on the wire, and pusher-http-php signs without its path prefix (laravel/reverb#356).
    """

    endpoint: Endpoint
    app_id: str | None
    subject: str
    signed_paths: tuple[str, ...]


_PATH: Final = re.compile(
    r"(?P<prefix>(?:/[^?]*?)??)"
    r"(?:/apps/(?P<app>[^/]+)/(?:"
    r"(?P<plain>events|batch_events|channels|connections)"
    r"|channels/(?P<channel>[^/]+)(?:/(?P<detail>users|events|stats))?"
    r"|users/(?P<user>[^/]+)/terminate_connections"
    r")|/users/(?P<lone_user>[^/]+)/terminate_connections)"
)
_PLAIN: Final = {
    "events": Endpoint.EVENTS,
    "batch_events": Endpoint.BATCH_EVENTS,
    "channels": Endpoint.CHANNELS,
    "connections": Endpoint.CONNECTIONS,
}
_DETAIL: Final = {
    None: Endpoint.CHANNEL,
    "users": Endpoint.USERS,
    "events": Endpoint.CHANNEL_EVENTS,
    "stats": Endpoint.STATS,
}
_REQUEST_LINE: Final = re.compile(rb"[A-Z]{1,16} [^ ?\r\n]*?/(?:apps/|users/[^/ ?\r\n]+/terminate_connections)")
_remembered: dict[bytes, Route] = {}


def is_api_request(data: bytes) -> bool:
    """Whether these first bytes of an HTTP request (its line at least) are for the API, by path alone."""
    return data.startswith(b"POST /apps/") or _REQUEST_LINE.match(data) is not None


def find_route(path: bytes) -> Route:
    """Recognise a raw path. Raises: RefusedError (404, or 400 when it is not UTF-8)."""
    known = _remembered.get(path)
    if known is not None:
        return known
    route = _parse(path)
    if not route.subject:  # paths with names in them would fill the memory
        if len(_remembered) >= MAX_REMEMBERED:
            _remembered.clear()
        _remembered[path] = route
    return route


def _parse(path: bytes) -> Route:
    try:
        text = path.decode()
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise RefusedError(400, "The path is not UTF-8") from error
    found = _PATH.fullmatch(text)
    if found is None:
        raise RefusedError(
            404,
            f"No such path: {decoded[:200]}. The HTTP API has /apps/{{app_id}}/events, /batch_events, /channels,"
            " /channels/{name}, /channels/{name}/users, /connections and /users/{id}/terminate_connections.",
        )
    if found["plain"]:
        endpoint, subject = _PLAIN[found["plain"]], ""
    elif found["channel"]:
        endpoint, subject = _DETAIL[found["detail"]], unquote(found["channel"])
    else:
        endpoint, subject = Endpoint.TERMINATE, unquote(found["user"] or found["lone_user"])
    stripped = text[len(found["prefix"]) :]
    candidates = dict.fromkeys((unquote(stripped), stripped, decoded, text))
    return Route(endpoint, unquote(found["app"]) if found["app"] else None, subject, tuple(candidates))
