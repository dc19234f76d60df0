"""The gateway's numbers for Prometheus. Label sets are bounded: codes, kinds, and at most 50 event names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .stats import LATENCY_BUCKETS, LatencyHistogram, Stats


class GatewayCollector(Collector):
    """Reads `Stats` and the present state when Prometheus asks."""

    def __init__(self, stats: Stats, present: Callable[[], dict[str, float]]) -> None:
        self._stats = stats
        self._present = present

    def collect(self) -> Iterable[Metric]:
        """One family per number."""
        stats = self._stats
        for name, value in self._present().items():
            yield GaugeMetricFamily(f"sharedjox_gateway_{name}", name.replace("_", " "), value=value)
        for name, text, value in (
            ("connections_opened", "WebSocket connections established", stats.connections_opened),
            ("messages_received", "client messages", stats.messages_received),
            ("received_bytes", "bytes of client messages", stats.bytes_received),
            ("events_received", "publications taken from Redis", stats.events_received),
            ("deliveries", "events written to connections", stats.deliveries),
            ("delivered_bytes", "bytes written by fan-out", stats.bytes_delivered),
            ("client_events", "client events published", stats.client_events),
            ("slow_closes", "connections closed because they read too slowly", stats.slow_closes),
            ("sent_away", "connections told to come back because Redis forgot grants or commands", stats.sent_away),
            ("api_events", "events published over the HTTP API", stats.api_events),
            ("replayed", "events replayed to recovering subscribers", stats.replayed),
        ):
            yield CounterMetricFamily(f"sharedjox_gateway_{name}", text, value=value)
        yield _labelled("connections_closed", "closed connections by close code", "code", stats.connections_closed)
        yield _labelled("connections_refused", "refused connections by code", "code", stats.connections_refused)
        yield _labelled("subscribe_refused", "refused subscribes by type", "type", stats.subscribe_refused)
        yield _labelled("recoveries", "recoveries by outcome", "outcome", stats.recoveries)
        yield self._api_answers()
        yield _histogram("api_seconds", "HTTP API requests, whole to answered", "endpoint", stats.api_latency)
        yield _histogram(
            "commit_to_socket_seconds",
            "from the event's commit to the last write of its fan-out in this process",
            "event",
            stats.latency,
        )

    def _api_answers(self) -> Metric:
        family = CounterMetricFamily(
            "sharedjox_gateway_api_answers", "answers of the HTTP API", labels=["endpoint", "status"]
        )
        for (endpoint, status), value in list(self._stats.api_answers.items()):
            family.add_metric([endpoint, str(status)], value)
        return family


def _histogram(name: str, text: str, label: str, histograms: dict[str, LatencyHistogram]) -> Metric:
    family = HistogramMetricFamily(f"sharedjox_gateway_{name}", text, labels=[label])
    bounds = [*map(str, LATENCY_BUCKETS), "+Inf"]
    for key, histogram in list(histograms.items()):
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        family.add_metric([key], buckets, histogram.total_seconds)
    return family


def _labelled(name: str, text: str, label: str, counts: dict[int, int] | dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"sharedjox_gateway_{name}", text, labels=[label])
    for key, value in list(counts.items()):
        family.add_metric([str(key)], value)
    return family


def create_registry(stats: Stats, present: Callable[[], dict[str, float]]) -> CollectorRegistry:
    """A registry of this process's own numbers."""
    registry = CollectorRegistry()
    registry.register(GatewayCollector(stats, present))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
