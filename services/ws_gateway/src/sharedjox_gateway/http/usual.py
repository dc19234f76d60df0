"""Requests whose head is one that the parser has passed before, but for target and length: taken apart without it.

A publisher's library sends the same headers with every request. Whether they are sound, and what they ask for, the
parser has said once; to hear it again takes longer than everything else about such a request. What is looked at anew
is what differs: the request line, the number in Content-Length, and whether the body is there whole. Whatever is
unusual in the least goes to the parser.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_REMEMBERED: Final = 256
MAX_HEAD_BYTES: Final = 4096

# Less than the parser takes for a target, nothing that it refuses; possessive, so that no input is gone over twice.
_LINE: Final = re.compile(rb"POST (/apps/[\w.~%@,;:=!$&'()*+/-]*+)(?:\?([\w.~%@,;:=!$&'()*+/?\[\]-]*+))? HTTP/1\.1\r\n")
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,9})\r\n")
_BARE_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")
"""Where a parser may see the end of a line, or of the head, that we do not."""


class UsualRequest(NamedTuple):
    """A request at the beginning of what was received. `size`: its bytes, head and body."""

    path: bytes
    query: bytes
    body: bytes
    keeps_alive: bool
    size: int


class UsualRequests:
    """The heads that were passed. One of a client that changes its headers all the time is forgotten again."""

    def __init__(self) -> None:
        self._known: dict[bytes, bool] = {}

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, data: bytes, *, keeps_alive: bool) -> None:
        """`data` begins with a POST in HTTP/1.1 of which the parser said that its headers ask for nothing special.

        That is: a length and no coding, no upgrade, no expectation, nothing that we read; and whether it keeps alive.
        """
        parts = _take_apart(data)
        if parts is not None and _BARE_LINE_END.search(parts[0]) is None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[parts[0]] = keeps_alive

    def take(self, data: bytes, max_body_bytes: int) -> UsualRequest | None:
        """The request at the beginning of `data`, when it is all there and nothing about it is new; else None."""
        parts = _take_apart(data)
        if parts is None:
            return None
        headers, path, query, start, length = parts
        keeps_alive = self._known.get(headers)
        end = start + length
        if keeps_alive is None or length > max_body_bytes or end > len(data):
            return None
        return UsualRequest(path, query, data[start:end], keeps_alive, end)


def _take_apart(data: bytes) -> tuple[bytes, bytes, bytes, int, int] | None:
    """(headers without the length, path, query, where the body starts, its length) of a request with a whole head."""
    line = _LINE.match(data)
    if line is None:
        return None
    end = data.find(b"\r\n\r\n", line.end() - 2, MAX_HEAD_BYTES)
    first = line.end() - 2
    length = _LENGTH.search(data, first, end + 2) if end > first else None
    if length is None:
        return None
    # Neither part can hold an empty line, so no two heads are taken for each other.
    headers = b"%b\r\n\r\n%b" % (data[first : length.start()], data[length.end() : end])
    return headers, line[1], line[2] or b"", end + 4, int(length[1])
