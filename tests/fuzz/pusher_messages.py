"""Pusher messages from which something is missing, or in which something is of the wrong kind or size."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

from tests.support.gateway import APP

from .handshakes import mutate

SHARED: Final = "private-bystanders"
"""A channel on which attackers and bystanders are together."""
PUBLIC: Final = "bystanders"
EVENTS: Final = [
    *("pusher:subscribe", "pusher:unsubscribe", "pusher:signin", "client-x", "pusher:ping", "pusher:pong"),
    *("pusher:error", "pusher_internal:subscription_succeeded", "nobody:knows", "", "client-", "client-" + "x" * 300),
]
RAW: Final = [
    b"",
    b"null",
    b"[]",
    b"{",
    b'"text"',
    b"\xef\xbb\xbf{}",
    b'{"event":"pusher:ping"',
    b'{"event":"pusher:ping","event":7}',
    b'{"event":"client-x","channel":"private-bystanders","data":NaN}',
    b'{"event":"client-x","channel":"private-bystanders","data":"\\ud800"}',
    b'{"event":"client-x","channel":"private-bystanders","data":"\xff"}',
    b'{"event":"client-x","channel":"private-bystanders","data":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"event":"client-x","channel":"private-bystanders","data":{"a":"\\q"}}',
    b'{"event":"client-x","channel":"private-bystanders","data":"a\x00b"}',
    b"[" * 1500,
    b'{"event":"pusher:subscribe","data":"{\\"channel\\":\\"\\\\ud800\\"}"}',
]


def random_message(dice: random.Random, socket_id: str) -> bytes:
    """One text message. A part of them joins the bystanders' channels properly, to say nonsense there."""
    kind = dice.random()
    if kind < 0.15:
        return dice.choice(RAW)
    if kind < 0.3:
        return _encoded({"event": "pusher:subscribe", "data": _proper_subscribe(dice, socket_id)})
    message = {"event": dice.choice(EVENTS), "data": _value(dice, socket_id, 0)}
    if dice.random() < 0.7:
        message["channel"] = dice.choice([SHARED, PUBLIC, "presence-fuzz", 7, None, "#server-to-user-7", "x" * 300, ""])
    if dice.random() < 0.2:
        message["user_id"] = "forged"
    if message["event"] in ("pusher:subscribe", "pusher:unsubscribe", "pusher:signin") and dice.random() < 0.8:
        message["data"] = _broken(dice, _proper_subscribe(dice, socket_id), socket_id)
    text = bytearray(_encoded(message))
    if kind > 0.8:
        for _ in range(dice.randint(1, 3)):
            mutate(dice, text)
        if dice.random() < 0.7:  # what is not UTF-8 ends the connection before anybody looks at the message
            return text.decode(errors="ignore").encode()
    return bytes(text)


def _encoded(message: Any) -> bytes:
    return json.dumps(message).encode()


def _proper_subscribe(dice: random.Random, socket_id: str) -> dict[str, Any]:
    kind = dice.randrange(5)
    if kind == 0:
        return {"channel": PUBLIC, "auth": ""}
    if kind == 1:
        member = json.dumps({"user_id": dice.randrange(40), "user_info": {"name": "é" * dice.randrange(30)}})
        channel = "presence-fuzz"
        return {"channel": channel, "channel_data": member, "auth": APP.sign_channel(socket_id, channel, member)}
    if kind == 2:
        user = json.dumps(
            {"id": str(dice.randrange(40)), "watchlist": [str(each) for each in range(dice.randrange(9))]}
        )
        return {"auth": APP.sign_user(socket_id, user), "user_data": user}
    if kind == 3:
        return {"channel": f"cache-fuzz-{dice.randrange(20)}"}
    return {"channel": SHARED, "auth": APP.sign_channel(socket_id, SHARED)}


def _broken(dice: random.Random, data: dict[str, Any], socket_id: str) -> Any:
    for _ in range(dice.randint(1, 2)):
        name = dice.choice([*data, "recover", "channel_data", "auth"])
        if dice.random() < 0.3:
            data.pop(name, None)
        else:
            data[name] = _value(dice, socket_id, 1)
    return json.dumps(data) if dice.random() < 0.3 else data


def _value(dice: random.Random, socket_id: str, depth: int) -> Any:
    values: list[Callable[[], Any]] = [
        lambda: None,
        lambda: dice.choice([True, False, 0, -1, 1e308, 2**63, 2**70]),
        lambda: dice.choice(
            ["", "x", "é✓", "\x00", "a\nb", "\ud800", "x" * 1500, "{}", "[", socket_id, f"{APP.key}:00"]
        ),
        lambda: {"epoch": dice.choice(["", "x", 7]), "offset": dice.choice([-1, 0, 2**63, "1"])},
        lambda: [_value(dice, socket_id, depth + 1) for _ in range(dice.randrange(3))] if depth < 4 else [],
        lambda: {str(n): _value(dice, socket_id, depth + 1) for n in range(dice.randrange(3))} if depth < 4 else {},
    ]
    return dice.choice(values)()
