"""What nearly every client sends, read in one go by optional code in C (`native/receiving.c`).

A request head in the plain form takes 11 us in Python, one text message 0.9; in C 0.5 and 0.2, and with the processor's
caches cold, as between system calls, all of it takes twice as long (docs/performance.md). The code in C knows the plain
case only: whatever it does not know, right or wrong, is read in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from .handshake import UpgradeRequest, plain_upgrade
from .websocket import read_single_text

ReadUpgrade = Callable[[bytes], UpgradeRequest | None]
"""Reads a request head; None when it is to be read by `handshake.parse_upgrade`."""
ReadText = Callable[[bytes, int], bytes | None]
"""The payload of one whole text message of at most so many bytes; None when it is to be read by a `FrameReader`."""


class _NativeModule(Protocol):
    read_text: ReadText

    @staticmethod
    def read_upgrade(head: bytes) -> tuple[bytes, bytes, str | None, str | None] | None: ...


def _native() -> _NativeModule | None:
    try:
        from . import _receiving  # type: ignore[attr-defined]  # built where a compiler is
    except ImportError:
        return None
    return cast("_NativeModule", _receiving)


def choose_readers(*, use_native: bool = True) -> tuple[ReadUpgrade, ReadText]:
    """The ways to read an upgrade and a text message."""
    native = _native() if use_native else None
    if native is None:
        return _leave_to_python, read_single_text
    read_upgrade = native.read_upgrade

    def read(head: bytes) -> UpgradeRequest | None:
        found = read_upgrade(head)
        return None if found is None else plain_upgrade(*found)

    return read, native.read_text


def _leave_to_python(_head: bytes) -> UpgradeRequest | None:
    return None
