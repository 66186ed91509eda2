"""Spans to an OpenTelemetry collector: OTLP over HTTP, by the SDK's own exporter. Needs the extra `tracing`.

Imported only when tracing.py is told to export. The exporter reads the standard's other variables itself
(OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _COMPRESSION, _TIMEOUT); it tries again for at most its timeout, which is
the thread's time and nobody else's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from services.runtime.settings import SettingsError
from services.runtime.tracing import CLIENT, SERVER, Send, Span

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
except ModuleNotFoundError as error:
    raise SettingsError(
        f"OTEL_EXPORTER_OTLP_ENDPOINT needs the extra `tracing`: pip install 'scalable-api[tracing]' ({error.name} is missing)"
    ) from error

if TYPE_CHECKING:
    from services.runtime.settings import Settings

KINDS: Final = {SERVER: trace.SpanKind.SERVER, CLIENT: trace.SpanKind.CLIENT}
SAMPLED: Final = trace.TraceFlags(trace.TraceFlags.SAMPLED)


class Given(IdGenerator):
    """The ids that a span has already: they went out in `traceparent`."""

    def __init__(self) -> None:
        self.trace_id = self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class Ended(SpanProcessor):
    """Keeps what has ended until it is taken."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class Converter:
    """Our spans as the SDK's. Made once; used by one thread."""

    def __init__(self, resource: Resource) -> None:
        self._ids, self._ended = Given(), Ended()
        provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("scalable-api")

    def converted(self, spans: Sequence[Span]) -> list[ReadableSpan]:
        offset_s = time.time() - time.monotonic()
        for span in spans:
            self._record(span, offset_s)
        found, self._ended.spans = self._ended.spans, []
        return found

    def _record(self, span: Span, offset_s: float) -> None:
        self._ids.trace_id, self._ids.span_id = int(span.trace_id, 16), int(span.span_id, 16)
        record = self._tracer.start_span(
            span.name,
            context=self._parent(span),
            kind=KINDS.get(span.kind, trace.SpanKind.INTERNAL),
            attributes=span.attributes,
            start_time=int((span.start_s + offset_s) * 1e9),
        )
        if span.failed:
            record.set_status(trace.StatusCode.ERROR)
        record.end(int((span.end_s + offset_s) * 1e9))

    def _parent(self, span: Span) -> Context:
        if not span.parent_id:
            return Context()
        above = trace.SpanContext(
            self._ids.trace_id, int(span.parent_id, 16), is_remote=span.kind == SERVER, trace_flags=SAMPLED
        )
        return trace.set_span_in_context(trace.NonRecordingSpan(above), Context())


def otlp_sender(endpoint: str, settings: Settings) -> Send:
    """Sends to `<endpoint>/v1/traces`, as the standard says of OTEL_EXPORTER_OTLP_ENDPOINT."""
    names = {
        "service.name": settings.component,
        "service.namespace": "scalable-api",
        "service.instance.id": settings.instance_id,
        "service.version": settings.app_version,
    }
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    converter = Converter(Resource.create(names))
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it has a line per try; ours is one per change

    def send(spans: Sequence[Span]) -> bool:
        return exporter.export(converter.converted(spans)) is SpanExportResult.SUCCESS

    return send
