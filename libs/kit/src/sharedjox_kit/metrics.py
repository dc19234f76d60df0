"""Prometheus: one registry per process, made at start and handed to whoever counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Of what `render` returns."""

LATENCY_BUCKETS: Final = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0
)  # fmt: skip
"""Seconds; dense around the budgets (10 and 40 ms), and wide enough to see an outage."""

SIZE_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""For counts of rows or frames handled in one go."""


def create_registry(*, service: str, version: str) -> CollectorRegistry:
    """A registry with the process's own figures (CPU, memory, descriptors, garbage collector)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info("sharedjox_build", "What is running.", registry=registry).info({"service": service, "version": version})
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """The registry in Prometheus' text format."""
    return generate_latest(registry)
