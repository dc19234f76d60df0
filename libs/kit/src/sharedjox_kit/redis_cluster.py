"""Which node of a Redis Cluster serves which slot. No I/O.

Nodes may disagree for a moment, and one that was cut off goes on saying what it knew. A failover and a move of slots
both raise the Cluster's epoch, so the answer of the highest epoch counts. Source: Redis Cluster specification,
"Configuration handling, propagation, and failovers".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .redis_address import Place

SLOTS: Final = 16_384
"""Into how many slots a Redis Cluster divides what it holds."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Who serves what: `ranges` of (first slot, last slot, master), in order. `replicas` serve nothing now.

    `is_whole` is False while the node that says so sees the Cluster as failed; it may be cut off itself.
    """

    ranges: tuple[tuple[int, int, Place], ...]
    replicas: frozenset[Place]
    epoch: int
    is_whole: bool

    @property
    def masters(self) -> frozenset[Place]:
        """Nodes that serve at least one slot."""
        return frozenset(place for _, _, place in self.ranges)

    def owner(self, slot: int) -> Place | None:
        """The master that serves a slot, if any does."""
        at = bisect_right(self.ranges, slot, key=lambda one: one[0]) - 1
        return self.ranges[at][2] if at >= 0 and slot <= self.ranges[at][1] else None

    @property
    def slots(self) -> int:
        """How many slots somebody serves."""
        return sum(last - first + 1 for first, last, _ in self.ranges)


def read_topology(slots: Sequence[Any], info: bytes, asked: Place) -> Topology:
    """From the answers to CLUSTER SLOTS and CLUSTER INFO of the node `asked`, whose host stands for an unnamed one."""
    ranges = sorted((int(first), int(last), _place(master, asked)) for first, last, master, *_ in slots)
    replicas = frozenset(_place(node, asked) for _, _, _, *others in slots for node in others)
    facts = dict(line.partition(b":")[::2] for line in info.splitlines())
    epoch = int(facts.get(b"cluster_current_epoch", b"0"))
    return Topology(tuple(ranges), replicas, epoch, facts.get(b"cluster_state") == b"ok")


def newest(topologies: Iterable[Topology | None]) -> Topology | None:
    """The one to believe: of a node that sees the Cluster whole, then of the highest epoch."""
    known = [one for one in topologies if one is not None]
    return max(known, key=lambda one: (one.is_whole, one.epoch), default=None)


def _place(node: Sequence[Any], asked: Place) -> Place:
    host = node[0] or b""
    name = host.decode() if isinstance(host, bytes) else str(host)
    return (name if name not in ("", "?") else asked[0]), int(node[1])
