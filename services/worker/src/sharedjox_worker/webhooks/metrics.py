"""Figures of webhook delivery."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class WebhookMetrics:
    """Requests by outcome, events delivered and given up, and how old events are when they are taken."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "sharedjox_webhook_requests", "webhook requests by outcome", ["outcome"], registry=registry
        )
        self._events = Counter("sharedjox_webhook_events", "webhook events by outcome", ["outcome"], registry=registry)
        self._age = Histogram(
            "sharedjox_webhook_age_seconds",
            "age of the oldest event of a request when the receiver took it",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
            registry=registry,
        )

    def delivered(self, events: int, age_seconds: float) -> None:
        """A receiver took a request."""
        self._requests.labels("delivered").inc()
        self._events.labels("delivered").inc(events)
        self._age.observe(max(age_seconds, 0.0))

    def failed(self) -> None:
        """A request failed; it may be tried again."""
        self._requests.labels("failed").inc()

    def dropped(self, events: int) -> None:
        """Events were given up."""
        self._events.labels("dropped").inc(events)
