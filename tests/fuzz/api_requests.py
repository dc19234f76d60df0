"""Requests to the HTTP API with something changed after they were signed, or never right; and who really signed one."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import h11

from tests.support.gateway import TestApp
from tests.support.http_api import sign_request

from .handshakes import mutate

_PATHS: Final = [
    "/events",
    "/batch_events",
    "/channels",
    "/channels/room",
    "/channels/presence-fuzz/users",
    "/connections",
]
_BODIES: Final[list[Any]] = [
    {"name": "e", "channels": ["fuzz-api"], "data": "{}"},
    {"name": "e", "channel": "fuzz-api", "data": "x" * 20_000},
    {"name": "e" * 201, "channels": ["fuzz-api"], "data": ""},
    {"name": "pusher:x", "channels": ["fuzz-api"], "data": ""},
    {"name": "e", "channels": ["a b"], "data": ""},
    {"name": "e", "channels": ["fuzz-api\n"], "data": ""},
    {"name": "e", "channels": [], "data": ""},
    {"name": "e", "channels": ["c"] * 101, "data": ""},
    {"name": "e", "channels": ["private-encrypted-a", "b"], "data": ""},
    {"name": "e", "channels": ["fuzz-api"], "data": {"not": "a string"}},
    {"name": "e", "channels": ["fuzz-api"], "data": "", "socket_id": "1"},
    {"name": "e", "channels": ["fuzz-api"], "data": "", "info": "colour"},
    {"name": 7, "channels": 7, "data": 7},
    {"batch": []},
    {"batch": [{"name": "e", "channel": "fuzz-api", "data": "1"}] * 11},
    {"batch": [{"name": "e", "channel": "fuzz-api", "data": "\ud800"}]},
    {"batch": 7},
    [],
    None,
]


def random_request(dice: random.Random, app: TestApp) -> bytes:
    """The bytes of one request."""
    path = dice.choice(_PATHS)
    method = (
        dice.choice(["POST", "POST", "POST", "GET", "PUT"])
        if "events" in path
        else dice.choice(["GET", "HEAD", "POST"])
    )
    body: Any = dice.choice(_BODIES) if method in ("POST", "PUT") else b""
    if method == "POST" and dice.random() < 0.1:
        body = dice.choice([b"\xff\xfe", b"{", b"[" * 3000, b'{"name":"\\ud800"}', dice.randbytes(50)])
    changed: dict[str, str | None] = {}
    if dice.random() < 0.3:
        name = dice.choice(["auth_key", "auth_timestamp", "auth_version", "body_md5", "auth_signature"])
        late = str(int(time.time()) + dice.choice([-601, -700, 700, 10**9]))
        changed[name] = dice.choice([None, "", "x", "0" * 64, late, "2.0", "é"])
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    signed = sign_request(method, path, encoded, app=app, query=None, signed_path=None, **changed)
    request = bytearray(signed.encode())
    if dice.random() < 0.6:
        for _ in range(dice.randint(1, 4)):
            mutate(dice, request)
    return bytes(request)


def is_authentic(request: bytes, app: TestApp) -> bool:
    """Whether the app signed this, read by another HTTP implementation and signed anew without our code."""
    if b"\r\nhost:" not in request.lower():  # h11 refuses that; what was signed is not changed by it
        request = request.replace(b"\r\n", b"\r\nHost: x\r\n", 1)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(request)
    connection.receive_data(b"")
    try:
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return False
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            return False
    except h11.RemoteProtocolError:
        return False
    path, _, query = head.target.decode("latin-1").partition("?")
    pairs = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
    signature = pairs.pop("auth_signature", "")
    if body and pairs.get("body_md5") != hashlib.md5(body, usedforsecurity=False).hexdigest():
        return False
    text = "\n".join((head.method.decode(), unquote(path), "&".join(f"{name}={pairs[name]}" for name in sorted(pairs))))
    right = hmac.new(app.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    is_in_time = abs(int(pairs.get("auth_timestamp", "0")) - time.time()) <= 610
    return hmac.compare_digest(right, signature) and is_in_time
