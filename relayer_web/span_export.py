"""Spans on their way to a collector (OTLP over HTTP). Importing this imports OpenTelemetry: only where tracing is on.

Spans are put into a bounded queue and sent by a thread of its own, in a front end by a greenlet. A collector that is
away costs spans, never a relay; it is said once, and once when it is back.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

import pocket_protocol

EXPORT_S: Final = 5.0
EVERY_MS: Final = 1000
QUEUED_SPANS: Final = 4096
BATCH_SPANS: Final = 256
TEXT_CHARACTERS: Final = 128  # senders' words are in some attributes
STOP_S: Final = 2.0
LIBRARY_LOG: Final = logging.getLogger("opentelemetry")

log = structlog.get_logger("relayer")

Count = Callable[[str, int], None]  # "exported" or "failed", number of spans


class _Exporter(SpanExporter):
    """The library's exporter, counted; it would say every failure anew."""

    def __init__(self, endpoint: str, count: Count) -> None:
        self._inner = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_S)
        self._endpoint = endpoint
        self._count = count
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        self._count("failed" if failed else "exported", len(spans))
        if failed and not self._fails:
            log.warning("the collector takes no spans", endpoint=self._endpoint)
        elif self._fails and not failed:
            log.info("the collector takes spans again", endpoint=self._endpoint)
        self._fails = failed
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class Spans:
    """Begins spans; made in the process that uses it, after its fork."""

    def __init__(self, endpoint: str, count: Count) -> None:
        LIBRARY_LOG.setLevel(logging.CRITICAL)
        instance = f"{socket.gethostname()}-{os.getpid()}"
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(
                {
                    "service.name": "pocket-relayer",
                    "service.version": pocket_protocol.__version__,
                    "service.instance.id": instance,
                }
            ),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=TEXT_CHARACTERS),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _Exporter(endpoint, count),
                max_queue_size=QUEUED_SPANS,
                schedule_delay_millis=EVERY_MS,
                max_export_batch_size=BATCH_SPANS,
            )
        )
        self._tracer = self._provider.get_tracer("relayer_web", pocket_protocol.__version__)

    def begin(self, name: str, parent: Any, *, is_client: bool = False) -> Span:
        """Begin a span inside `parent`, or a trace where that is None. Whoever has it ends it."""
        if parent is None:
            return self._tracer.start_span(name, Context(), SpanKind.SERVER)
        kind = SpanKind.CLIENT if is_client else SpanKind.INTERNAL
        return self._tracer.start_span(name, set_span_in_context(parent, Context()), kind)

    def traceparent(self, span: Span) -> str:
        """Return the W3C header that names a span to whoever is asked next."""
        context = span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def fail(self, span: Span, reason: str) -> None:
        """Mark a span as failed for `reason`, a label of the error tree."""
        span.set_attribute("error.type", reason)
        span.set_status(Status(StatusCode.ERROR))

    def stop(self) -> None:
        """Send what is queued, for a moment at most: a collector that hangs holds nobody up."""
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(STOP_S)
