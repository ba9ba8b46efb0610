"""Spans of a relay's stages for OpenTelemetry, off unless `extensions.tracing.endpoint` is set.

    relay ─── validation ─ relay_meter ─ backend ─ sign ─ publish          HTTP and gRPC
    websocket_request ─── validation ─ relay_meter                         a message of the client
    websocket_answer ─── relay_meter (a push) ─ sign ─ publish             a message of the backend
    settlement ─── validation ─ relay_meter ─ publish                      optimistic mode, after the answer

Stages have the names of their timing metrics. Whether a relay is traced is drawn where it begins; traceparent headers
of senders decide nothing, or strangers could have every relay traced. While off, no part of the runtime is wrapped and
nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pocket_protocol.errors import PocketError
from relayer_web.admission import Relay
from relayer_web.backends.contract import BackendRequest
from relayer_web.config_tracing import TracingSection, is_installed
from relayer_web.grpc_relay import GrpcAnswer
from relayer_web.inbound import Answer, Chunks
from relayer_web.metrics import RelayerMetrics

if TYPE_CHECKING:
    from relayer_web.span_export import Spans

STATUS: Final = "http.response.status_code"

_current: ContextVar[_Begun | None] = ContextVar("traced_relay", default=None)  # of this greenlet or thread


def begins_nothing(name: str, serve: Callable[..., Any]) -> Callable[..., Any]:
    """What `Tracing.begins` is while tracing is off."""
    return serve


def tracing_of(section: TracingSection, metrics: RelayerMetrics) -> Tracing | None:
    """Begin to trace in this process, after its fork; None where it is off or the extra is not installed."""
    if not section.endpoint or not is_installed():
        return None
    from relayer_web.span_export import Spans

    spans = Spans(section.endpoint, lambda result, number: metrics.count("trace_spans", result, by=number))
    return Tracing(spans, section.sample_ratio)


class Tracing:
    """Puts spans around the parts of a runtime. `draw()` gives a number below `sample_ratio` for who is traced."""

    def __init__(self, spans: Spans, sample_ratio: float, draw: Callable[[], float] = random.random) -> None:
        self._spans = spans
        self._sample_ratio = sample_ratio
        self._draw = draw

    def begins(self, name: str, serve: Callable[..., Any]) -> Callable[..., Any]:
        """`serve` as the beginning of a relay: the span that those of the stages belong to."""

        def traced(*arguments: Any) -> Any:
            if self._draw() >= self._sample_ratio:
                return serve(*arguments)
            with ExitStack() as held:
                begun = _Begun(held.enter_context(self._span(name, None)))
                for argument in arguments:
                    begun.describe(getattr(argument, "relay", None))
                with _inside(begun):
                    result = serve(*arguments)
                _describe_result(begun.span, result)
                if isinstance(result, Answer) and result.chunks is not None:
                    return replace(result, chunks=_TracedChunks(result.chunks, begun, held.pop_all()))
                return result

        return traced

    def over(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of a runtime, by their names there, with their stages traced."""
        traced = dict(parts)
        for name, wrap in (
            ("admission", self._admission),
            ("verifier", lambda verifier: _Part(verifier, verify=self._stage("validation", verifier.verify))),
            ("metering", self._metering),
            ("backends", self._backends),
            ("signer", self._signer),
            ("publisher", lambda part: _Part(part, publish=self._stage("publish", part.publish))),
        ):
            if name in traced:
                traced[name] = wrap(traced[name])
        return traced

    def _backends(self, backends: Any) -> Any:
        return _Part(backends, call=self._asking(backends.call), call_once=self._asking(backends.call_once))

    def _asking(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call` as the stage `backend`; the backend is told the trace, so that its own spans join it."""

        def asked(service_id: str, transport: str, request: BackendRequest) -> Any:
            begun = _current.get()
            if begun is None:
                return call(service_id, transport, request)
            with self._span("backend", begun.span, is_client=True) as span:
                told = {**request.overrides, "Traceparent": self._spans.traceparent(span)}
                response = call(service_id, transport, replace(request, overrides=told))
                _describe_result(span, response)
                return response

        return asked

    def stop(self) -> None:
        """Send what is left, within a moment."""
        self._spans.stop()

    def _admission(self, admission: Any) -> Any:
        def identify(inbound: Any) -> Relay:
            relay: Relay = admission.identify(inbound)
            begun = _current.get()
            if begun is not None:
                begun.describe(relay)
            return relay

        return _Part(admission, identify=identify)

    def _metering(self, metering: Any) -> Any:
        @contextmanager
        def charged(relay: Relay, height: int) -> Iterator[Any]:
            with ExitStack() as held:
                reserve = self._stage("relay_meter", held.enter_context)
                yield reserve(metering.charged(relay, height))

        return _Part(metering, charged=charged)

    def _signer(self, signer: Any) -> Any:
        return _Part(
            signer,
            sign=self._stage("sign", signer.sign),
            sign_hashed=self._stage("sign", signer.sign_hashed),
            sign_error=self._stage("sign", signer.sign_error),
        )

    def _stage(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def staged(*arguments: Any) -> Any:
            begun = _current.get()
            if begun is None:
                return work(*arguments)
            if arguments:
                begun.describe(arguments[0])
            with self._span(name, begun.span) as span:
                result = work(*arguments)
                _describe_result(span, result)
                return result

        return staged

    @contextmanager
    def _span(self, name: str, parent: Any, *, is_client: bool = False) -> Iterator[Any]:
        span = self._spans.begin(name, parent, is_client=is_client)
        try:
            yield span
        except BaseException as error:
            reason = error.reason if isinstance(error, PocketError) else type(error).__name__
            self._spans.fail(span, reason)
            raise
        finally:
            span.end()


class _Begun:
    """A traced relay on its way; what it is may come out only at one of its stages."""

    __slots__ = ("_is_described", "span")

    def __init__(self, span: Any) -> None:
        self.span = span
        self._is_described = False

    def describe(self, relay: object) -> None:
        """Say which relay it is: names and heights alone, nothing that was signed and nothing that was said."""
        if self._is_described or not isinstance(relay, Relay):
            return
        self._is_described = True
        header = relay.header
        self.span.set_attributes(
            {
                "pocket.service_id": relay.service_id,
                "pocket.rpc_type": relay.transport,
                "pocket.supplier": relay.supplier,
                "pocket.application": header.application_address,
                "pocket.session_id": header.session_id,
                "pocket.session_end_height": header.session_end_block_height,
            }
        )


class _Part:
    """A part of the runtime some of whose methods are replaced; all else is the part's own."""

    def __init__(self, part: Any, **methods: Callable[..., Any]) -> None:
        self._part = part
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


class _TracedChunks:
    """A stream whose relay ends with it. Whoever sends it does so in one greenlet, to the end of the connection."""

    def __init__(self, chunks: Chunks, begun: _Begun, held: ExitStack) -> None:
        self._chunks, self._begun, self._held = chunks, begun, held

    def __iter__(self) -> Iterator[bytes]:
        with _inside(self._begun):
            yield from self._chunks

    def close(self) -> None:
        self._chunks.close()
        self._held.close()


@contextmanager
def _inside(begun: _Begun) -> Iterator[None]:
    """Stages of this block belong to the relay."""
    token = _current.set(begun)
    try:
        yield
    finally:
        with suppress(ValueError):  # a stream that nobody reads to its end may be closed elsewhere
            _current.reset(token)


def _describe_result(span: Any, result: object) -> None:
    if isinstance(result, GrpcAnswer):
        span.set_attribute("rpc.grpc.status_code", result.code)
    elif isinstance(status := getattr(result, "status", None), int):  # of an answer, or of a backend's
        span.set_attribute(STATUS, status)
        if retries := getattr(result, "retries", 0):
            span.set_attribute("http.request.resend_count", retries)
