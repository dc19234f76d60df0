"""Pusher frames (the JSON text inside a WebSocket message), built once per event.

A durable event's frame carries `id`, `epoch` and `offset` beside `event`, `channel` and `data`; stock clients ignore
them. The offset is only known inside Redis, so the publisher builds the frame *open* (without its last member and
closing brace) and the publish script completes it: nobody parses or encodes the event again afterwards.

Source: Pusher Channels protocol 7, "Events"; SPEC section 5.
"""

from __future__ import annotations

from .codec import encode_json


def open_event_frame(*, event: str, channel: str, data: str, event_id: str, user_id: str | None = None) -> bytes:
    """The frame of a durable event up to, not including, `,"epoch":…,"offset":…}`.

    `data` is the publisher's string; it is escaped into a JSON string (Pusher's double encoding).
    """
    frame = {"event": event, "data": data, "channel": channel, "id": event_id}
    if user_id is not None:
        frame["user_id"] = user_id
    return encode_json(frame)[:-1]


def close_event_frame(opened: bytes, *, epoch: str, offset: int) -> bytes:
    """What the publish script does in Lua, for tests of it."""
    return b'%s,"epoch":"%s","offset":%d}' % (opened, epoch.encode(), offset)
