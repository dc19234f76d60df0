"""The answer of `/api/analytics/realtime`."""

from __future__ import annotations

import datetime as dt

from msgspec import Struct

from sharedjox_api.http.answers import Answer


class Latency(Struct, frozen=True, rename="camel"):
    """Percentiles in milliseconds."""

    p50: float
    p95: float
    p99: float


class EventFigures(Struct, frozen=True, rename="camel"):
    """One event type. Latencies are null where nothing was measured."""

    event: str
    count: int
    per_second: float
    commit_to_publish_ms: Latency | None
    commit_to_socket_ms: Latency | None


class Totals(Struct, frozen=True, rename="camel"):
    """Sums over all nodes and types."""

    events_per_second: float
    deliveries_per_second: float
    connections: int
    subscriptions: int


class NodeAnswer(Struct, frozen=True, rename="camel"):
    """One gateway process."""

    node: str
    connections: int
    subscriptions: int
    deliveries_per_second: float
    updated_at: dt.datetime


class OutboxFigures(Struct, frozen=True, rename="camel"):
    """What waits to be published."""

    pending: int
    oldest_pending_seconds: float


class AnalyticsAnswer(Answer, frozen=True):
    """The last minute of the platform."""

    at: dt.datetime
    window_seconds: float
    totals: Totals
    events: list[EventFigures]
    nodes: list[NodeAnswer]
    outbox: OutboxFigures
