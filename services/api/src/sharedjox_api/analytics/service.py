"""Figures of the last minute: events from the outbox, sockets from what the gateways write into Redis."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sharedjox_contracts.analytics import (
    FIGURES_KEY,
    STALE_AFTER_MS,
    WINDOW_SECONDS,
    NodeFigures,
    decode_figures,
    percentile,
)
from sharedjox_kit.logs import get_logger
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from .schemas import AnalyticsAnswer, EventFigures, Latency, NodeAnswer, OutboxFigures, Totals

_log = get_logger(__name__)

_PUBLISHED: Final = text(
    "SELECT event_name, count(*) AS events,"
    " percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY"
    "  extract(epoch FROM published_at - created_at)) AS seconds"
    " FROM (SELECT event_name, published_at, created_at FROM outbox_messages"
    "  WHERE published_at > now() - make_interval(secs => :seconds) ORDER BY published_at DESC LIMIT 50000) AS recent"
    " GROUP BY event_name ORDER BY event_name"
)
_PENDING: Final = text(
    "SELECT count(*) AS pending, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS oldest"
    " FROM (SELECT created_at FROM outbox_messages"
    "  WHERE published_at IS NULL AND parked_at IS NULL LIMIT 10000) AS waiting"
)


async def realtime_figures(connection: AsyncConnection, redis: Redis, now: dt.datetime) -> AnalyticsAnswer:
    """Everything the operations page shows. Without Redis the nodes are missing, the rest is there."""
    published = (await connection.execute(_PUBLISHED, {"seconds": WINDOW_SECONDS})).all()
    waiting = (await connection.execute(_PENDING)).one()
    nodes = await _live_nodes(redis, now)
    on_socket = {name: _merged(nodes, name) for name in sorted({name for node in nodes for name in node.latency})}
    counts = {row.event_name: row for row in published}
    events = [
        EventFigures(
            event=name,
            count=counts[name].events if name in counts else 0,
            per_second=round(counts[name].events / WINDOW_SECONDS, 3) if name in counts else 0.0,
            commit_to_publish_ms=_from_percentiles(counts[name].seconds) if name in counts else None,
            commit_to_socket_ms=on_socket.get(name),
        )
        for name in sorted(counts.keys() | on_socket.keys())
    ]
    return AnalyticsAnswer(
        at=now,
        window_seconds=WINDOW_SECONDS,
        totals=Totals(
            events_per_second=round(sum(row.events for row in published) / WINDOW_SECONDS, 3),
            deliveries_per_second=round(sum(node.deliveries / node.window_seconds for node in nodes), 3),
            connections=sum(node.connections for node in nodes),
            subscriptions=sum(node.subscriptions for node in nodes),
        ),
        events=events,
        nodes=[_node_answer(node) for node in sorted(nodes, key=lambda node: node.node)],
        outbox=OutboxFigures(pending=waiting.pending, oldest_pending_seconds=round(float(waiting.oldest), 3)),
    )


async def _live_nodes(redis: Redis, now: dt.datetime) -> list[NodeFigures]:
    oldest = now.timestamp() * 1000 - STALE_AFTER_MS
    try:
        written: Iterable[bytes] = await redis.hvals(FIGURES_KEY)  # type: ignore[misc]  # sync and async share stubs
    except (RedisError, OSError, TimeoutError) as error:
        _log.warning("analytics.redis_away", error=repr(error))
        return []
    nodes = []
    for data in written:
        try:
            figures = decode_figures(data)
        except msgspec.MsgspecError:
            continue  # a node of another version
        if figures.at_ms >= oldest:
            nodes.append(figures)
    return nodes


def _node_answer(node: NodeFigures) -> NodeAnswer:
    return NodeAnswer(
        node=node.node,
        connections=node.connections,
        subscriptions=node.subscriptions,
        deliveries_per_second=round(node.deliveries / node.window_seconds, 3),
        updated_at=dt.datetime.fromtimestamp(node.at_ms / 1000, dt.UTC),
    )


def _merged(nodes: Sequence[NodeFigures], event: str) -> Latency | None:
    """One histogram of all nodes whose buckets are alike."""
    bounds = next(node.latency_bounds for node in nodes if event in node.latency)
    counts = [0] * (len(bounds) + 1)
    for node in nodes:
        if node.latency_bounds == bounds and len(node.latency.get(event, ())) == len(counts):
            counts = [sum(pair) for pair in zip(counts, node.latency[event], strict=True)]
    found = [percentile(bounds, counts, share) for share in (0.5, 0.95, 0.99)]
    return _from_percentiles([value for value in found if value is not None]) if None not in found else None


def _from_percentiles(seconds: Sequence[float]) -> Latency:
    p50, p95, p99 = (round(max(float(value), 0.0) * 1000, 3) for value in seconds)
    return Latency(p50=p50, p95=p95, p99=p99)
