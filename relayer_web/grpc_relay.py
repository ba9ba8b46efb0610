"""One relay over gRPC or gRPC-Web, step by step, with the same steps as over HTTP (spec/relayer.md §1.8; T-GRPC-AUTH).

What differs is only how it is said: refusals are gRPC statuses, and a backend that could not be used is answered
with a signed error, so that the gateway can show who failed. That one is neither charged nor mined.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

from pocket_protocol.envelope import HttpResponse, encode_http_response
from pocket_protocol.errors import PocketError
from relayer_web.admission import Relay
from relayer_web.backends.contract import BackendFailed, BackendTimeout
from relayer_web.grpc_refusals import OK, grpc_refusal
from relayer_web.inbound import Inbound
from relayer_web.mining import Mining
from relayer_web.pipeline import ask_backend, check, count_refused, count_served, reserved, settle
from relayer_web.refusals import InternalError, row_of
from relayer_web.responses import http_payload
from relayer_web.simulated_http import simulate

if TYPE_CHECKING:
    from relayer_web.runtime import Runtime

SEND_RELAY: Final = "/pocket.service.RelayService/SendRelay"
BACKEND_ERROR_CODE: Final = 500
REASONS: Final = {
    "read_body_error": "recv_error",
    "invalid_relay_request": "payload_deserialize_error",
    "response_signer_not_configured": "no_signer",
    "stake_exhausted": "meter_rejected",
    "meter_error": "meter_rejected",
    "backend_timeout": "backend_error",
    "backend_network_error": "backend_error",
    "signing_error": "sign_error",
}


@dataclass(frozen=True, slots=True)
class GrpcAnswer:
    """How a call ends: gRPC status code and text, and the one message of a good end."""

    code: int
    text: str = ""
    message: bytes = b""


def relay_metadata(pairs: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Return the metadata that concerns a relay; what the gRPC library says of itself is not for backends."""
    kept: dict[str, str] = {}
    for name, value in pairs:
        if isinstance(value, str) and (name == "rpc-type" or name.startswith("pocket-")):
            kept.setdefault(name, value)
    return kept


def serve_grpc_relay(inbound: Inbound, runtime: Runtime) -> GrpcAnswer:
    """Serve one relay that came over gRPC. Always answers; never raises."""
    relay: Relay | None = None
    try:
        relay = runtime.admission.identify(inbound)
        simulated = simulate(relay, inbound, runtime, "grpc")
        if isinstance(simulated, PocketError):
            return _refused(simulated, relay, inbound)
        if simulated is not None:
            return GrpcAnswer(OK, message=simulated.encoded)
        return GrpcAnswer(OK, message=_served(relay, inbound, runtime))
    except PocketError as error:
        return _failed(error, relay, inbound, runtime)
    except Exception as error:
        runtime.on_defect(error)
        return _failed(InternalError(), relay, inbound, runtime)


def _failed(error: PocketError, relay: Relay | None, inbound: Inbound, runtime: Runtime) -> GrpcAnswer:
    count_refused(error, relay, runtime)
    _count_error(error, relay, runtime)
    return _refused(error, relay, inbound)


def _count_error(error: PocketError, relay: Relay | None, runtime: Runtime) -> None:
    """Count a relay that ended badly, under the reference's reason where it has one (spec/relayer.md §7.1)."""
    metrics = runtime.metrics
    service = metrics.service(relay.service_id if relay else "")
    reason = row_of(type(error)).reason
    metrics.count("grpc_relays", service)
    metrics.count("grpc_relay_errors", service, REASONS.get(reason, reason))


def _served(relay: Relay, inbound: Inbound, runtime: Runtime) -> bytes:
    started = perf_counter()
    position = check(relay, runtime)
    try:
        with reserved(relay, position, runtime) as charge:
            asked = perf_counter()
            backend = ask_backend(relay, inbound, runtime)
            answered = perf_counter()
            payload = http_payload(backend, runtime.max_response_bytes)
            response = runtime.signer.sign(relay, payload)
            outcome = settle(relay, response, position, charge, runtime)
    except (BackendTimeout, BackendFailed) as failure:
        return _backend_error(failure, relay, runtime)
    size = len(response.encoded)
    count_served(relay, (backend.status, size), (started, asked, answered), runtime)
    metrics = runtime.metrics
    metrics.count("grpc_relays", relay.service_id)
    metrics.observe("grpc_relay_latency_seconds", perf_counter() - started, relay.service_id)
    if outcome is Mining.MINED:
        metrics.count("grpc_relays_published", relay.service_id)
    return response.encoded


def _backend_error(failure: PocketError, relay: Relay, runtime: Runtime) -> bytes:
    """The signed answer of a relay whose backend gave none. Raises `SigningFailed`."""
    text = f"backend error: {failure.summary}"
    body = json.dumps({"error": text}, separators=(",", ":")).encode()
    payload = encode_http_response(HttpResponse(BACKEND_ERROR_CODE, (), body))
    response = runtime.signer.sign_error(relay, payload, BACKEND_ERROR_CODE, text)
    count_refused(failure, relay, runtime)
    _count_error(failure, relay, runtime)
    return response.encoded


def _refused(error: PocketError, relay: Relay | None, inbound: Inbound) -> GrpcAnswer:
    code, text = grpc_refusal(error, relay, inbound.body)
    return GrpcAnswer(code, text)
