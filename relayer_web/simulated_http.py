"""One simulated relay: one attempt at a backend, signed and answered, nothing charged or mined (§2.10)."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from pocket_protocol.errors import PocketError, Refused
from relayer_web.admission import Relay
from relayer_web.backends.contract import BackendFailed, BackendTimeout, NoBackend
from relayer_web.inbound import Answer, Inbound
from relayer_web.inner_request import backend_request
from relayer_web.refusals import BackendStatus, InternalError, refusal_answer
from relayer_web.responses import JSON, SignedResponse, SigningFailed, http_payload
from relayer_web.simulation import ReplaysUnknown

if TYPE_CHECKING:
    from relayer_web.runtime import Runtime


def serve_simulated(relay: Relay, inbound: Inbound, runtime: Runtime) -> Answer | None:
    """Answer a simulated relay; None for a real one. Never raises."""
    outcome = simulate(relay, inbound, runtime, "http")
    if isinstance(outcome, PocketError):
        return refusal_answer(outcome, "")
    return Answer(200, [("Content-Type", JSON)], outcome.encoded) if outcome else None


def simulate(
    relay: Relay, inbound: Inbound, runtime: Runtime, transport: str
) -> SignedResponse | PocketError | None:
    """Return what became of a simulated relay; None for a real one. `transport`: the metric's label. Never raises."""
    gate = runtime.simulation
    key_id = gate.key_id(inbound.headers)
    if not key_id:
        return None
    started = perf_counter()
    outcome: SignedResponse | PocketError
    try:
        with gate.admitted(relay, key_id):
            outcome = _served(relay, inbound, runtime)
        result = "success" if runtime.meter_is_sound(relay.service_id) else "meter_degraded"
    except PocketError as error:
        result, outcome = simulation_result(error), error
    except Exception as error:
        runtime.on_defect(error)
        result, outcome = "internal_error", InternalError()
    gate.count(transport, relay, result)
    took_s = perf_counter() - started
    service = runtime.metrics.service(relay.service_id)
    runtime.metrics.observe("simulated_relay_duration_seconds", took_s, transport, service)
    return outcome


def simulation_result(error: PocketError) -> str:
    """The metric's `result` of a simulated relay that ended with `error`, over any transport."""
    if isinstance(error, SigningFailed):
        return "sign_failed"
    if isinstance(error, Refused | ReplaysUnknown):
        return error.reason
    return "backend_error"


def _served(relay: Relay, inbound: Inbound, runtime: Runtime) -> SignedResponse:
    request = backend_request(relay, inbound)
    try:
        backend = runtime.backends.call_once(relay.service_id, relay.transport, request)
    except (NoBackend, BackendTimeout) as error:
        raise BackendFailed(what=error.reason) from error
    if backend.status >= 500:
        raise BackendStatus(status=backend.status)
    return runtime.signer.sign(relay, http_payload(backend, runtime.max_response_bytes))
