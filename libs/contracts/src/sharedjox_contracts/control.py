"""Commands to the gateways, and the outbox rows that lead to them. They never reach a browser.

A revocation travels like an event: its row commits with the state that caused it, so it cannot be lost; the worker
turns it into commands for the sockets concerned and publishes those on `redis_layout.CONTROL_CHANNEL`, with the script
and the history of any event: a gateway that was cut off is told what it missed. `UserState` and `Drain` have
no history: they concern who is there now.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from .codec import encode_json
from .events import Payload
from .publication import Header, encode_header


class AccessChanged(Payload, frozen=True):
    """Who may be on `channel` changed: everyone on it is to be checked again."""

    event_name: ClassVar[str] = "access.changed"

    channel: str


class SessionRevoked(Payload, frozen=True):
    """A log-in session ended: its sockets are to be closed."""

    event_name: ClassVar[str] = "session.revoked"

    session_id: str


CONTROL_TYPES: Final[dict[str, type[Payload]]] = {kind.event_name: kind for kind in (AccessChanged, SessionRevoked)}


class Unsubscribe(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="unsubscribe"):
    """Take one channel away from one connection, and refuse it that channel from now on."""

    socket_id: str
    channel: str


class Close(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="close"):
    """Close one connection. `code` is a Pusher close code (4009: do not come back)."""

    socket_id: str
    code: int
    reason: str


class TerminateUser(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="terminate_user"):
    """Close every connection that is signed in as this user (HTTP API `terminate_connections`)."""

    user_id: str


class UserState(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="user_state"):
    """A user's first connection signed in, or the last one ended. `version`: see `online_layout`."""

    user_id: str
    is_online: bool
    version: int


class Drain(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="drain"):
    """One gateway process sends its clients elsewhere and ends; whoever supervises it starts it again."""

    process: str


COMMAND: Final = "command"
"""The event name of commands on CONTROL_CHANNEL."""

Command = Unsubscribe | Close | TerminateUser | UserState | Drain
_DECODER: Final[msgspec.json.Decoder[Command]] = msgspec.json.Decoder(Command)


def encode_command(command: Command) -> bytes:
    """A command as published."""
    return encode_json(command)


def open_command(command: Command, event_id: str) -> tuple[str, bytes, bytes]:
    """A command as an event for the publish script: its id, its open frame, its header."""
    return event_id, encode_json(command)[:-1], encode_header(Header(COMMAND, event_id=event_id))


def decode_command(message: bytes) -> Command:
    """A command as announced, or the frame of a publication on CONTROL_CHANNEL.

    Raises: msgspec.ValidationError or msgspec.DecodeError for anything that is no command.
    """
    return _DECODER.decode(message)
