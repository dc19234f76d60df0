"""Figures of Web Push."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class PushMetrics:
    """Attempts by outcome: delivered, postponed, dropped, or gone (the browser's subscription has ended)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._pushes = Counter(
            "sharedjox_worker_pushes_total", "Web Push attempts by outcome.", ["outcome"], registry=registry
        )

    def count(self, outcome: str) -> None:
        """One attempt ended."""
        self._pushes.labels(outcome).inc()
