"""What the relay counts. Alerts and their first actions: docs/operations.md."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sharedjox_kit.metrics import LATENCY_BUCKETS, SIZE_BUCKETS

from .claims import Lag


class RelayMetrics:
    """The relay's figures in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.depth = Gauge("sharedjox_outbox_pending_rows", "Rows that wait to be published.", registry=registry)
        self.oldest_seconds = Gauge(
            "sharedjox_outbox_oldest_pending_seconds", "Age of the oldest row that waits.", registry=registry
        )
        self.parked = Gauge(
            "sharedjox_outbox_parked_rows", "Rows set aside for an operator; should be 0.", registry=registry
        )
        self.events = Counter(
            "sharedjox_relay_events_total",
            "Rows handled, by event and result (published, parked).",
            ("event", "result"),
            registry=registry,
        )
        self.repeats = Counter(
            "sharedjox_relay_repeats_total", "Events that Redis had already; they changed nothing.", registry=registry
        )
        self.batch_rows = Histogram(
            "sharedjox_relay_batch_rows", "Rows in one claim.", buckets=SIZE_BUCKETS, registry=registry
        )
        self.publish_seconds = Histogram(
            "sharedjox_relay_publish_seconds",
            "One round trip of publish scripts to Redis.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.commit_to_publish_seconds = Histogram(
            "sharedjox_relay_commit_to_publish_seconds",
            "From an event's row to Redis' answer.",
            ("event",),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.failures = Counter(
            "sharedjox_relay_failures_total",
            "Failures by what was decided (retry_relay, retry_channel, park).",
            ("decision",),
            registry=registry,
        )
        self.repairs = Counter(
            "sharedjox_relay_history_repairs_total",
            "How often recent events were repeated because Redis had been restarted.",
            registry=registry,
        )
        self.pruned = Counter("sharedjox_outbox_pruned_total", "Published rows deleted.", registry=registry)

    def observe_lag(self, lag: Lag) -> None:
        """Set the gauges."""
        self.depth.set(lag.depth)
        self.oldest_seconds.set(lag.oldest_seconds)
        self.parked.set(lag.parked)
