import re

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sharedjox_kit.tracing import Tracing, current_traceparent, start_tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_without_a_collector_nothing_is_recorded() -> None:
    tracing = start_tracing("test", None)
    assert not tracing.is_recording
    with tracing.span("work", attributes={"rows": 3}):
        assert current_traceparent() is None
    tracing.shutdown()


def test_a_trace_goes_on_from_a_traceparent() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing("test", exporter)
    with tracing.span("outer", parent=PARENT), tracing.span("inner"):
        inner = current_traceparent()
    tracing.shutdown()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert format(spans["outer"].context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert spans["outer"].parent is not None
    assert format(spans["outer"].parent.span_id, "016x") == "b7ad6b7169203331"
    assert inner is not None
    assert re.fullmatch(r"00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01", inner)


def test_a_damaged_traceparent_begins_another_trace() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing("test", exporter)
    with tracing.span("work", parent="00-zz-zz-01"):
        pass
    tracing.shutdown()
    (span,) = exporter.get_finished_spans()
    assert span.parent is None
