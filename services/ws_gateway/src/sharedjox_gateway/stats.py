"""What happened, in plain integers: the hot path may add to them; `metrics` shows them to Prometheus."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from typing import Final

from .hub.channel import Arrival, Channel, Delivery

LATENCY_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
MAX_EVENT_LABELS: Final = 50
OTHER_EVENTS: Final = "other"


class LatencyHistogram:
    """Counts per bucket; the upper bounds are LATENCY_BUCKETS seconds and infinity."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BUCKETS) + 1)
        self.total_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value; clocks of two machines may differ, so a negative one counts as 0."""
        if seconds < 0:
            seconds = 0.0
        self.counts[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self.total_seconds += seconds


class Stats:
    """Counters of one gateway process. Also the fan-out's observer."""

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_closed: Counter[int] = Counter()
        self.connections_refused: Counter[int] = Counter()
        self.messages_received = 0
        self.bytes_received = 0
        self.events_received = 0
        self.deliveries = 0
        self.bytes_delivered = 0
        self.subscriptions = 0
        self.subscribe_refused: Counter[str] = Counter()
        self.client_events = 0
        self.slow_closes = 0
        self.sent_away = 0
        self.recoveries: Counter[str] = Counter()
        self.replayed = 0
        self.latency: dict[str, LatencyHistogram] = {}
        self.api_events = 0
        self.api_answers: Counter[tuple[str, int]] = Counter()
        self.api_latency: dict[str, LatencyHistogram] = {}

    def api_answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one answer of the HTTP API."""
        self.api_answers[endpoint, status] += 1
        histogram = self.api_latency.get(endpoint)
        if histogram is None:
            histogram = self.api_latency[endpoint] = LatencyHistogram()
        histogram.observe(seconds)

    def delivered(self, _channel: Channel, deliveries: list[Delivery], members: int, size: int) -> None:
        """See `hub.fanout.FanoutObserver`."""
        self.deliveries += members * len(deliveries)
        self.bytes_delivered += members * size
        now = 0.0
        for delivery in deliveries:
            if delivery.committed_at_us:
                now = now or time.time()
                self._latency_of(delivery.event).observe(now - delivery.committed_at_us / 1e6)

    def delivered_now(self, arrivals: list[Arrival], deliveries: int, size: int) -> None:
        """See `hub.fanout.FanoutObserver`."""
        self.deliveries += deliveries
        self.bytes_delivered += size
        now_us, latency = time.time() * 1e6, self.latency
        for _, _, _, event, _, committed_at_us, _ in arrivals:
            if committed_at_us:
                histogram = latency.get(event) or self._latency_of(event)
                histogram.observe((now_us - committed_at_us) / 1e6)

    def _latency_of(self, event: str) -> LatencyHistogram:
        histogram = self.latency.get(event)
        if histogram is None:
            name = event if len(self.latency) < MAX_EVENT_LABELS else OTHER_EVENTS
            histogram = self.latency.setdefault(name, LatencyHistogram())
        return histogram
