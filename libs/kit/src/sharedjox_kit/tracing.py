"""OpenTelemetry: one trace from the REST request through outbox and worker to the gateway.

Between processes the context travels as a W3C `traceparent` string (a column of the outbox, a header of a publication).
Without an exporter endpoint nothing is recorded and every call here is a no-op.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """A span that ends in another function than it began in. One that is never ended is never exported."""

    span: Span
    traceparent: str
    """For what happens because of it, in this process or another one."""

    def end(self) -> None:
        """What the span stands for is done."""
        self.span.end()


class Tracing:
    """Makes spans of one service. `shutdown` sends what is still waiting."""

    def __init__(self, service: str, exporter: SpanExporter | None) -> None:
        self._provider: TracerProvider | None = None
        if exporter is None:
            self._tracer: trace.Tracer = trace.NoOpTracer()
        else:
            self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
            self._tracer = self._provider.get_tracer(service)

    @property
    def is_recording(self) -> bool:
        """Whether spans go anywhere; lets hot paths skip the work of describing them."""
        return self._provider is not None

    @contextmanager
    def span(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int] | None = None,
        start_ns: int | None = None,
    ) -> Iterator[Span]:
        """A span below `parent` (a traceparent), or below the current one. `start_ns`: when it began, Unix time."""
        context = _PROPAGATOR.extract({_HEADER: parent}) if parent else None
        with self._tracer.start_as_current_span(
            name, context=context, kind=kind, attributes=dict(attributes or {}), start_time=start_ns
        ) as span:
            yield span

    def begin(
        self, name: str, *, parent: str | None, kind: SpanKind, attributes: Mapping[str, str | int], start_ns: int
    ) -> OpenSpan:
        """A span below `parent` (a traceparent) that the caller ends. Worth calling only while `is_recording`."""
        context = _PROPAGATOR.extract({_HEADER: parent}) if parent else Context()
        span = self._tracer.start_span(
            name, context=context, kind=kind, attributes=dict(attributes), start_time=start_ns
        )
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        return OpenSpan(span, carrier.get(_HEADER, parent or ""))

    def shutdown(self) -> None:
        """Export the rest and stop."""
        if self._provider is not None:
            self._provider.shutdown()


def start_tracing(service: str, endpoint: str | None) -> Tracing:
    """Tracing to an OTLP/HTTP collector (its base address, e.g. `http://collector:4318`), or none."""
    if endpoint is None:
        return Tracing(service, None)
    return Tracing(service, OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))


def current_traceparent() -> str | None:
    """The current span as a traceparent, or None outside of any recorded span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_HEADER)
