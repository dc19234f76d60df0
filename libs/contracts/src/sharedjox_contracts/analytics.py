"""What gateway processes tell operators about themselves: figures of the last minute, in one Redis hash.

Each process writes its field every few seconds (`HSET figures_key node figures`); a reader ignores, and may delete,
fields that are older than STALE_AFTER_MS. Nothing depends on these figures but a page that operators look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, json

from .redis_layout import KEY_PREFIX

FIGURES_KEY: Final = f"{KEY_PREFIX}:figures"
STALE_AFTER_MS: Final = 15_000
WRITE_EVERY_SECONDS: Final = 2.0
WINDOW_SECONDS: Final = 60.0


class NodeFigures(Struct, frozen=True, rename="camel"):
    """One gateway process. `connections` and `subscriptions` are as of now, the rest counts the last `window_seconds`.

    `latency`: commit-to-socket counts per event; list index = bucket, upper bounds in `latency_bounds` (seconds), the
    last bucket is everything above.
    """

    node: str
    at_ms: int
    connections: int
    subscriptions: int
    window_seconds: float = WINDOW_SECONDS
    events: int = 0
    deliveries: int = 0
    bytes_delivered: int = 0
    latency_bounds: list[float] = []
    latency: dict[str, list[int]] = {}


_DECODER: Final = json.Decoder(NodeFigures)


def decode_figures(data: bytes) -> NodeFigures:
    """Raises: msgspec.ValidationError or msgspec.DecodeError for anything else."""
    return _DECODER.decode(data)


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """An upper estimate in seconds: linear within the bucket that holds it; None without values.

    Values above the last bound count as that bound.
    """
    total = sum(counts)
    if not total or not bounds:
        return None
    wanted, before = share * total, 0
    for index, count in enumerate(counts):
        if count and before + count >= wanted:
            if index >= len(bounds):
                return bounds[-1]
            low = bounds[index - 1] if index else 0.0
            return low + (bounds[index] - low) * (wanted - before) / count
        before += count
    return bounds[-1]
