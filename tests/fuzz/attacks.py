"""The kinds of malformed input. Each attack sends one case, looks at the answer and says what is wrong with it.

A case is made from its number and the run's seed alone, so one that was found can be repeated by itself.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from websockets.frames import Frame, Opcode

from tests.support.frames import masked
from tests.support.gateway import APP

from .api_requests import is_authentic, random_request
from .frames import expected_end, is_owed, random_stream
from .handshakes import GOOD_HEAD, expected_status, random_head
from .pusher_messages import random_message
from .wire import Wire, close_code, in_pieces

MAX_MESSAGE_BYTES: Final = 2048
"""The gateway's limit in a run: small, so that many cases are about it."""
END: Final = 4444
"""The code with which a case that nothing is wrong with ends its connection; it must be echoed."""
NONCE: Final = b"still here"
_FRAME_END: Final = masked(0x89, NONCE, b"mask") + masked(0x88, END.to_bytes(2, "big"), b"mask")


@dataclass(slots=True)
class Target:
    """What is attacked, and the tally of what it answered."""

    port: int
    answers: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    """Cases by kind in which a rule of RFC 6455 was broken, by the other implementation's judgement."""


Attack = Callable[[random.Random, Target], Awaitable[str | None]]
"""Returns what is wrong, or None."""


async def attack_with_frames(dice: random.Random, target: Target) -> str | None:
    """A stream of frames behind a good handshake: the close code must be the one that the other implementation owes."""
    sent = random_stream(dice, MAX_MESSAGE_BYTES, _FRAME_END)
    owed = expected_end(sent, MAX_MESSAGE_BYTES)
    target.malformed["frames"] += owed.is_breach
    parts = in_pieces(dice, sent)
    async with Wire(target.port, dice) as wire:
        if dice.random() < 0.5:  # the frames right behind the head, before it was answered
            await wire.send([GOOD_HEAD + parts[0], *parts[1:]])
        else:
            await wire.send(in_pieces(dice, GOOD_HEAD))
            parts = [b"", *parts]
        if b" 101 " not in await wire.head():
            return "a good handshake was not accepted"
        if not parts[0]:
            await wire.send(parts[1:])
        if owed.code is None:  # the end was swallowed by a frame that announced more: the server rightly waits
            wire.finish()
        frames = await wire.frames()
    code = close_code(frames)
    target.answers[f"frames: {code}"] += 1
    if code is None and wire.was_reset and owed.has_close:
        # The peer closed and went on sending: what is unread when the server closes makes TCP drop what it said.
        target.answers["frames: None, reset behind a close"] += 1
        return None
    if not is_owed(code, owed, sent, MAX_MESSAGE_BYTES):
        return f"closed with {code}, owed {owed.code}: {sent.hex()}"
    pongs = tuple(bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG)
    if code == owed.code and pongs != owed.pings:
        return f"closed with {code}, with {len(owed.pings)} pings before it, answered by {pongs}: {sent.hex()}"
    return _unreadable(frames)


async def attack_with_messages(dice: random.Random, target: Target) -> str | None:
    """Sound frames with malformed Pusher messages: answered in band, and the connection goes on."""
    async with Wire(target.port, dice) as wire:
        await wire.send([GOOD_HEAD])
        if b" 101 " not in await wire.head():
            return "a good handshake was not accepted"
        established = await wire.some()
        socket_id = _socket_id(established)
        messages = [random_message(dice, socket_id) for _ in range(dice.randint(1, 6))]
        frames_sent = [masked(0x81, message, dice.randbytes(4)) for message in messages]
        frames_sent.append(masked(0x81, b'{"event":"pusher:ping","data":{}}', b"mask"))
        sent = b"".join(frames_sent) + _FRAME_END
        await wire.send(frames_sent if dice.random() < 0.5 else in_pieces(dice, b"".join(frames_sent)))
        await wire.send([_FRAME_END])
        frames = await wire.frames()
    code = close_code(frames)
    target.answers[f"messages: {code}"] += 1
    owed = expected_end(sent, MAX_MESSAGE_BYTES)
    if not is_owed(code, owed, sent, MAX_MESSAGE_BYTES):
        return f"closed with {code}, owed {owed.code}, for {messages!r}"
    texts = [json.loads(bytes(frame.data)) for frame in frames if frame.opcode is Opcode.TEXT]
    target.answers.update(f"messages: {text['event']}" for text in texts if text["event"].startswith("pusher"))
    if code == END and not any(text["event"] == "pusher:pong" for text in texts):
        return f"pusher:ping was not answered behind {messages!r}"
    return _unreadable(frames)


_SOCKET_ID: Final = re.compile(rb'socket_id\\": ?\\"([0-9.]+)')


def _socket_id(established: bytes) -> str:
    """Of the server's first message; raises when that is something else."""
    found = _SOCKET_ID.search(established)
    if found is None:
        raise AssertionError(f"the connection was not established: {established!r}")
    return found[1].decode()


def _unreadable(frames: list[Frame]) -> str | None:
    for frame in frames:
        if frame.opcode is Opcode.TEXT:
            text = bytes(frame.data)
            try:
                if not isinstance(json.loads(text.decode())["event"], str):
                    return f"a message without an event: {text!r}"
            except (ValueError, KeyError, TypeError):
                return f"not a Pusher message: {text!r}"
    return None


async def attack_with_a_handshake(dice: random.Random, target: Target) -> str | None:
    """A changed request head: 101 exactly where it is owed, and then the Pusher code that its target deserves."""
    head, code = random_head(dice)
    owed = expected_status(head)
    target.malformed["handshakes"] += owed != 101
    async with Wire(target.port, dice) as wire:
        await wire.send(in_pieces(dice, head))
        if owed != 101:
            wire.finish()
        status = _status(await wire.head())
        target.answers[f"handshake: {status}"] += 1
        if status == 101 and owed == 101:
            return (
                _wrong_begin(head, code, await wire.frames(limit=1 if code is None else None), target)
                if code != 0
                else None
            )
    if status == 101 or owed == 101:
        return f"answered {status}, owed {owed}: {head!r}"
    # For a request that is no handshake and announces a body the server may wait, here until the FIN.
    may_wait = owed == 0 or b"content-length" in head.lower() or b"transfer-encoding" in head.lower()
    # And a refusal with more on its way may be lost: what is unread when the server closes makes TCP drop what it said.
    if not (400 <= status < 500 or (status == 0 and (may_wait or wire.was_reset))):
        return f"answered {status} to {head!r}"
    return None


def _wrong_begin(head: bytes, code: int | None, frames: list[Frame], target: Target) -> str | None:
    """What is wrong with the first frames of a connection that stands: established, or the error and its close."""
    answered = close_code(frames)
    target.answers[f"handshake: 101, {answered or 'established'}"] += 1
    first = json.loads(bytes(frames[0].data)) if frames else {}
    wanted = "pusher:connection_established" if code is None else "pusher:error"
    if answered != code or first.get("event") != wanted:
        return f"began with {first} and closed with {answered}, owed {code}: {head!r}"
    return None


async def attack_the_api(dice: random.Random, target: Target) -> str | None:
    """A mutated API request: never a server error, and success only for what was really signed."""
    request = random_request(dice, APP)
    async with Wire(target.port, dice) as wire:
        await wire.send(in_pieces(dice, request))
        wire.finish()
        answer = await wire.head()
    status = _status(answer)
    target.answers[f"api: {status}"] += 1
    if status >= 500 or (0 < status < 200 and status not in (100, 101)):
        return f"answered {status} to {request!r}"
    if status in (200, 202) and not is_authentic(request, APP):
        return f"{status} for a request that nobody signed: {request!r}"
    return None


async def attack_a_fallback(dice: random.Random, target: Target) -> str | None:
    """Requests of the HTTP fallbacks with anything in them."""
    session = (
        f"{dice.randrange(1000)}/{dice.choice(['abcdefgh', '%00', 'x' * 70, 'é', '..', f'{dice.getrandbits(40):x}'])}"
    )
    kind = dice.choice(["xhr", "xhr_streaming", "xhr_send", "websocket"])
    protocol = dice.choice(["7", "7", "7", "5", "x", "", "99999999999"])
    body = b"[" + b",".join(json.dumps(random_message(dice, "1.1").decode("latin-1")).encode() for _ in range(2)) + b"]"
    if dice.random() < 0.5:
        body = dice.choice(
            [b"", b"[]", b"[7]", b"{", b"\xff", b'["\\ud800"]', b"[" * 5000, body[: dice.randrange(len(body))]]
        )
    head = f"POST /pusher/app/{APP.key}/{session}/{kind}?protocol={protocol} HTTP/1.1\r\nHost: x\r\n".encode()
    async with Wire(target.port, dice) as wire:
        await wire.send([head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body])
        answer = await wire.head()
    status = _status(answer)
    target.answers[f"fallback: {status}"] += 1
    return f"answered {status} to {head!r} {body!r}" if status >= 500 or status == 0 else None


def _status(answer: bytes) -> int:
    parts = answer.split(b" ", 2)
    return int(parts[1]) if len(parts) > 2 and parts[1].isdigit() else 0


ATTACKS: Final[Mapping[str, tuple[Attack, float]]] = {
    "frames": (attack_with_frames, 0.55),
    "handshakes": (attack_with_a_handshake, 0.3),
    "messages": (attack_with_messages, 0.09),
    "api": (attack_the_api, 0.05),
    "fallbacks": (attack_a_fallback, 0.01),
}
"""Each kind with its share of the cases."""
