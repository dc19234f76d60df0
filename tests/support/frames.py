"""WebSocket frames as a client sends them, sound or not, byte for byte."""

from __future__ import annotations

from websockets.speedups import apply_mask


def masked(first: int, payload: bytes, mask: bytes) -> bytes:
    """One frame in the shortest form, masked; `first` is its first byte (FIN, reserved bits, opcode)."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65536:
        head = bytes((first, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + length.to_bytes(8, "big")
    return head + mask + apply_mask(payload, mask)
