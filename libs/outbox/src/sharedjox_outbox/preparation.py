"""From outbox rows to what Redis is told, step by step and in order for each channel."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec
from opentelemetry.trace import SpanKind
from sharedjox_contracts.channels import channel_kind, is_valid_channel_name
from sharedjox_contracts.codec import encode_json_text
from sharedjox_contracts.control import CONTROL_TYPES
from sharedjox_contracts.events import EVENT_TYPES, Payload
from sharedjox_contracts.frames import open_event_frame
from sharedjox_contracts.publication import Header
from sharedjox_contracts.redis_layout import MAX_EVENTS_PER_CALL, HistoryLimits, LimitsFor
from sharedjox_kit.tracing import OpenSpan, Tracing

from .claims import Row
from .decisions import UnpublishableRowError

_EPOCH_START: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
CACHE_MS: Final = 30 * 60 * 1000
"""How long a cache channel remembers its last event (Pusher: 30 minutes)."""


@dataclass(frozen=True, slots=True)
class PreparedEvent:
    """An event, ready for the publish script."""

    row: Row
    opened_frame: bytes
    header: Header
    span: OpenSpan | None = None
    """From the row's insertion to Redis' answer, when traces are recorded; the gateways' spans are below it."""


@dataclass(frozen=True, slots=True)
class EventStep:
    """Events of one channel that go to Redis in one call: all of them or none."""

    channel: str
    events: tuple[PreparedEvent, ...]
    limits: HistoryLimits
    cache_ms: int


@dataclass(frozen=True, slots=True)
class ControlStep:
    """A row that concerns the gateways, not their clients; it keeps its place among the channel's events."""

    channel: str
    row: Row
    payload: Payload


Step = EventStep | ControlStep


@dataclass(slots=True)
class Plan:
    """What is to be done for a batch: each channel's steps in order, and the rows that can not be published."""

    steps: dict[str, list[Step]] = field(default_factory=dict)
    rejected: list[tuple[Row, UnpublishableRowError]] = field(default_factory=list)


def _check_channel(row: Row) -> None:
    if not is_valid_channel_name(row.channel):
        msg = f"invalid channel name {row.channel!r}"
        raise UnpublishableRowError(msg)


def _decode(row: Row) -> Payload:
    kind = EVENT_TYPES.get(row.event_name) or CONTROL_TYPES.get(row.event_name)
    if kind is None:
        msg = f"unknown event {row.event_name!r}"
        raise UnpublishableRowError(msg)
    try:
        return msgspec.json.decode(row.payload, type=kind)
    except msgspec.MsgspecError as error:
        msg = f"{row.event_name}: {error}"
        raise UnpublishableRowError(msg) from error


class Preparer:
    """Decodes rows and builds frames. An event that goes to several channels is encoded once."""

    def __init__(self, limits_for: LimitsFor, *, max_data_bytes: int, tracing: Tracing | None = None) -> None:
        self._limits_for = limits_for
        self._max_data_bytes = max_data_bytes
        self._tracing = tracing if tracing is not None and tracing.is_recording else None

    def plan(self, rows: Iterable[Row]) -> Plan:
        """Sort `rows` (in id order) into steps."""
        plan = Plan()
        encoded: dict[object, tuple[Payload, str]] = {}
        waiting: dict[str, list[PreparedEvent]] = {}
        for row in rows:
            try:
                _check_channel(row)
                payload, data = encoded.get(row.event_id) or self._encode(row)
            except UnpublishableRowError as error:
                plan.rejected.append((row, error))
                continue
            encoded[row.event_id] = payload, data
            if row.event_name in CONTROL_TYPES:
                self._close(plan, row.channel, waiting)
                plan.steps.setdefault(row.channel, []).append(ControlStep(row.channel, row, payload))
            else:
                waiting.setdefault(row.channel, []).append(self._prepare(row, data))
        for channel in list(waiting):
            self._close(plan, channel, waiting)
        return plan

    def _encode(self, row: Row) -> tuple[Payload, str]:
        payload = _decode(row)
        data = encode_json_text(payload)
        if len(data.encode()) > self._max_data_bytes:
            msg = f"{len(data.encode())} bytes of data; at most {self._max_data_bytes} are published"
            raise UnpublishableRowError(msg)
        return payload, data

    def _prepare(self, row: Row, data: str) -> PreparedEvent:
        event_id = str(row.event_id)
        span = self._begin_span(row)
        return PreparedEvent(
            row,
            open_event_frame(event=row.event_name, channel=row.channel, data=data, event_id=event_id),
            Header(
                event=row.event_name,
                event_id=event_id,
                except_socket_id=row.except_socket_id or "",
                committed_at_us=_committed_at_us(row),
                traceparent=(span.traceparent if span is not None else row.traceparent) or "",
                request_id=row.request_id or "",
            ),
            span,
        )

    def _begin_span(self, row: Row) -> OpenSpan | None:
        if self._tracing is None:
            return None
        return self._tracing.begin(
            f"publish {row.event_name}",
            parent=row.traceparent,
            kind=SpanKind.PRODUCER,
            attributes={
                "messaging.system": "redis",
                "messaging.destination.name": row.channel,
                "messaging.message.id": str(row.event_id),
                "sharedjox.request_id": row.request_id or "",
            },
            start_ns=_committed_at_us(row) * 1000,
        )

    def _close(self, plan: Plan, channel: str, waiting: dict[str, list[PreparedEvent]]) -> None:
        """Turn the events that were collected for `channel` into steps."""
        limits = self._limits_for(channel)
        cache_ms = CACHE_MS if channel_kind(channel).is_cache else 0
        for events in _chunks(waiting.pop(channel, [])):
            plan.steps.setdefault(channel, []).append(EventStep(channel, events, limits, cache_ms))


def _chunks(events: list[PreparedEvent]) -> Iterator[tuple[PreparedEvent, ...]]:
    for start in range(0, len(events), MAX_EVENTS_PER_CALL):
        yield tuple(events[start : start + MAX_EVENTS_PER_CALL])


def _committed_at_us(row: Row) -> int:
    return (row.created_at - _EPOCH_START) // _MICROSECOND
