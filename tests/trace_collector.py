"""A collector of OpenTelemetry on a real socket: what it was sent over OTLP/HTTP, decoded."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class SeenSpan:
    """One span as the collector has it."""

    name: str
    trace: bytes
    id: bytes
    parent: bytes
    attributes: dict[str, Any]
    failed: bool
    duration_s: float


class Collector:
    """Takes traces. `status`: what it answers; `gate`: closed, it does not answer at all."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.asked.set()
                outer.gate.wait()
                if outer.status == 200 and self.path == "/v1/traces":
                    outer.bodies.append(body)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def spans(self, name: str = "") -> list[SeenSpan]:
        """All spans so far, or those of a name."""
        found = []
        for body in list(self.bodies):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += [_seen(span) for span in scope.spans if name in ("", span.name)]
        return found

    def children(self, parent: SeenSpan) -> list[str]:
        """The names of a span's children, in the order they began."""
        return [span.name for span in self.spans() if (span.trace, span.parent) == (parent.trace, parent.id)]

    def resource(self) -> dict[str, Any]:
        sent = ExportTraceServiceRequest.FromString(self.bodies[0]).resource_spans[0].resource
        return {one.key: one.value.string_value for one in sent.attributes}


def _seen(span: Span) -> SeenSpan:
    return SeenSpan(
        span.name,
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes},
        span.status.code == Status.STATUS_CODE_ERROR,
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


@contextmanager
def collector() -> Iterator[Collector]:
    made = Collector()
    try:
        yield made
    finally:
        made.gate.set()
        made.server.shutdown()
        made.server.server_close()
