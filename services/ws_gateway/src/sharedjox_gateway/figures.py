"""This process's figures of the last minute, in Redis, for operators. Source: `sharedjox_contracts.analytics`."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable

from msgspec import Struct
from sharedjox_contracts.analytics import FIGURES_KEY, WINDOW_SECONDS, WRITE_EVERY_SECONDS, NodeFigures
from sharedjox_contracts.codec import encode_json
from sharedjox_kit.clock import unix_ms

from .broker.resp import RespConnection
from .stats import LATENCY_BUCKETS, Stats


class _Sample(Struct, frozen=True):
    """The counters at one moment; two of them make a window."""

    at: float
    events: int
    deliveries: int
    bytes_delivered: int
    latency: dict[str, list[int]]


class Figures:
    """Call `tick` often; it writes every WRITE_EVERY_SECONDS. Lost while Redis is away: they are old by then."""

    def __init__(
        self,
        stats: Stats,
        connections: Callable[[], int],
        commander: Callable[[], RespConnection | None],
        now: Callable[[], float],
    ) -> None:
        self.node = f"{socket.gethostname()}-{os.getpid()}"
        self._stats = stats
        self._connections = connections
        self._commander = commander
        self._now = now
        self._samples: deque[_Sample] = deque()

    def tick(self) -> None:
        """Take a sample and write the window, when it is time."""
        now = self._now()
        if self._samples and now - self._samples[-1].at < WRITE_EVERY_SECONDS:
            return
        sample = self._sample(now)
        self._samples.append(sample)
        while now - self._samples[0].at > WINDOW_SECONDS:
            self._samples.popleft()
        commander = self._commander()
        if commander is not None:
            commander.send(None, "HSET", FIGURES_KEY, self.node, encode_json(self._figures(self._samples[0], sample)))

    def retire(self) -> None:
        """This process ends: its figures are nobody's."""
        commander = self._commander()
        if commander is not None:
            commander.send(None, "HDEL", FIGURES_KEY, self.node)

    def _sample(self, now: float) -> _Sample:
        stats = self._stats
        latency = {event: list(histogram.counts) for event, histogram in stats.latency.items()}
        return _Sample(now, stats.events_received, stats.deliveries, stats.bytes_delivered, latency)

    def _figures(self, first: _Sample, last: _Sample) -> NodeFigures:
        nothing = [0] * (len(LATENCY_BUCKETS) + 1)
        latency = {
            event: [new - old for new, old in zip(counts, first.latency.get(event, nothing), strict=True)]
            for event, counts in last.latency.items()
        }
        return NodeFigures(
            node=self.node,
            at_ms=unix_ms(),
            connections=self._connections(),
            subscriptions=self._stats.subscriptions,
            window_seconds=max(last.at - first.at, WRITE_EVERY_SECONDS),
            events=last.events - first.events,
            deliveries=last.deliveries - first.deliveries,
            bytes_delivered=last.bytes_delivered - first.bytes_delivered,
            latency_bounds=list(LATENCY_BUCKETS),
            latency={event: counts for event, counts in latency.items() if any(counts)},
        )
