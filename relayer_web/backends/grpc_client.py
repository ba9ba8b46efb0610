"""gRPC towards one origin, byte-transparent, over h2c or TLS (spec/relayer.md §1.8).

One channel per service and origin, made at the first call. Every kind of method is served; a stream of answers is
collected whole, within the call's deadline and the size limit.

Whatever status a backend ends a call with is its answer, UNAVAILABLE and DEADLINE_EXCEEDED too. UNAVAILABLE is gRPC's 503,
and often said by a proxy before a dead node: the breaker counts it. The library makes up the same statuses when a call
fails on its way. Those are told by their text: after a call has begun it always begins in one of two ways, and before
that it says that there is no connection; and no deadline can have passed before its time.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc.experimental import ChannelOptions

from pocket_protocol.grpc_frames import encode_frame
from relayer_web.backends.contract import BackendFailed, BackendResponse, BackendTimeout
from relayer_web.backends.grpc_message import GrpcCall, grpc_call, response_headers
from relayer_web.backends.http_client import Origin, OutgoingRequest

EARLY_S: Final = 0.02  # the library's clock is not quite ours
_BROKEN_TEXTS: Final = ("Stream removed (", "Received http2 header with status: ")
_UNSENT_TEXTS: Final = (
    "failed to connect to all addresses",
    "errors resolving ",
    "DNS resolution failed ",
    "empty address list",
)
_OPTIONS: Final = (
    (ChannelOptions.SingleThreadedUnaryStream, 1),  # half the CPU of a lone call
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class GrpcClient:
    """Calls one origin. Answers of `max_body_bytes` or more are failures. Make it after the fork."""

    def __init__(
        self,
        origin: Origin,
        *,
        max_body_bytes: int,
        tls_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._origin = origin
        self._max_body_bytes = max_body_bytes
        self._tls_context = tls_context
        self._lock = threading.Lock()
        self._opened: Any = None

    def call(self, request: OutgoingRequest, deadline: float) -> BackendResponse:
        """Call the method and return the whole answer before `deadline` (monotonic seconds).

        Raises `BackendTimeout`, `BackendFailed` (its value `sent` is False when the backend saw nothing), and
        `ForbiddenRequest` for what is no gRPC request.
        """
        asked = grpc_call(request, self._max_body_bytes)
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise BackendTimeout(what="no time left")
        call = self._started(asked, remaining_s)
        try:
            body = self._collected(call, deadline)
        finally:
            call.cancel()
        status: int = call.code().value[0]
        headers = response_headers(
            call.initial_metadata() or (), call.trailing_metadata() or (), status, call.details() or ""
        )
        complaint = "gRPC status UNAVAILABLE" if call.code() is grpc.StatusCode.UNAVAILABLE else ""
        return BackendResponse(200, headers, body, complaint=complaint)

    def check_connection(self, deadline: float) -> None:
        """Wait until there is a connection. Raises `BackendTimeout`."""
        try:
            grpc.channel_ready_future(self._channel()).result(max(0.0, deadline - time.monotonic()))
        except grpc.FutureTimeoutError:
            raise BackendTimeout(what="dial") from None

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _started(self, asked: GrpcCall, timeout_s: float) -> Any:
        channel = self._channel()
        if len(asked.messages) == 1:
            method = channel.unary_stream(asked.path)
            return method(asked.messages[0], timeout=timeout_s, metadata=asked.metadata)
        return channel.stream_stream(asked.path)(
            iter(asked.messages), timeout=timeout_s, metadata=asked.metadata
        )

    def _collected(self, call: Any, deadline: float) -> bytes:
        """All messages as frames, also those before a bad status."""
        body = bytearray()
        try:
            for message in call:
                body += encode_frame(message)
                if len(body) >= self._max_body_bytes:
                    raise BackendFailed(what="answer too large", limit=self._max_body_bytes)
        except grpc.RpcError:
            _check_answered(call, deadline)
        return bytes(body)

    def _channel(self) -> Any:
        with self._lock:
            if self._opened is None:
                options = [*_OPTIONS, ("grpc.max_receive_message_length", self._max_body_bytes)]
                target = self._target()
                if self._origin.secure:
                    self._opened = grpc.secure_channel(target, self._credentials(), options)
                else:
                    self._opened = grpc.insecure_channel(target, options)
            return self._opened

    def _target(self) -> str:
        host = self._origin.host
        return f"[{host}]:{self._origin.port}" if ":" in host else f"{host}:{self._origin.port}"

    def _credentials(self) -> grpc.ChannelCredentials:
        """The same trust as towards HTTPS backends; the library's own where the system lists none."""
        known = self._tls_context().get_ca_certs(binary_form=True)
        roots = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in known)
        return grpc.ssl_channel_credentials(roots.encode() or None)


def _check_answered(call: Any, deadline: float) -> None:
    """Raise unless a call that did not end well was ended by the backend's own status."""
    code, text = call.code(), call.details() or ""
    broke_off = text.startswith(_BROKEN_TEXTS)
    is_late = time.monotonic() >= deadline - EARLY_S
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and (broke_off or is_late):
        raise BackendTimeout(what="gRPC call")
    if broke_off:
        raise BackendFailed(what=text)
    if code is grpc.StatusCode.UNAVAILABLE and text.startswith(_UNSENT_TEXTS):
        raise BackendFailed(what=text, sent=False)
