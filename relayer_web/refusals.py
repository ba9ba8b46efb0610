"""What a gateway is told, and what is counted, for each way a relay can end badly (spec/relayer.md §1.3, §2.1).

One table: leaf of the error tree -> metrics reason, HTTP status, gRPC code, text. A leaf without a row of its own
takes its nearest ancestor's, and the three roots have rows, so the table is total. Bodies are valid JSON whatever
the text holds (T-ESC), and no text names a place in our source.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pocket_protocol.errors import Malformed, PocketError, Refused, Unavailable
from pocket_protocol.session import ImplausibleHeights
from relay_store.meter import StakeExhausted
from relay_store.registry import RegistryUnavailable, SupplierNotRegistered, UnreadableSupplier
from relay_store.simulation_replay import SimulationReplayed
from relay_store.store_errors import StoreRefused, StoreUnavailable
from relayer_web import admission, simulation
from relayer_web.backends import contract
from relayer_web.inbound import Answer
from relayer_web.metering import MeterUnavailable
from relayer_web.position import HeightUnknown
from relayer_web.publisher import PublishFailed
from relayer_web.responses import SigningFailed
from relayer_web.store_gate import StoreAway, StoreNearlyFull
from relayer_web.streaming import ClientLeft, StreamCut
from relayer_web.throttle import TooManyFailures
from relayer_web.verification import ValidationFailed
from relayer_web.websocket.handshake import TooManyConnections
from relayer_web.websocket.peer import TooMuchUnfinished
from relayer_web.websocket.signed_handshake import MalformedHandshake, UnsignedHandshake

INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = 3, 4, 5, 6, 7
RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE = 8, 13, 14

MAX_TEXT: Final = 1000  # characters of a refusal's text; senders' values are in some of them
NO_SERVICE: Final = "service temporarily unavailable"
Text = str | Callable[[Any], str]


class BackendStatus(Unavailable):
    """The backend answered with a status of 500 or above; nothing of it is signed or charged."""

    reason = "backend_5xx"
    summary = "backend service error"
    status: int


class InternalError(PocketError):
    """A defect of ours."""

    reason = "internal_error"
    summary = "internal error"


@dataclass(frozen=True, slots=True)
class Row:
    """How a leaf is answered. `status` 0: the error's own. `fast_fail`: the body names the service."""

    reason: str
    status: int
    grpc_code: int
    text: Text
    fast_fail: bool = False


def _supplier_text(rest: str) -> Callable[[Any], str]:
    return lambda error: f"supplier {error.supplier} {rest}"


def _simulation(kind: type[PocketError], status: int, grpc_code: int) -> Row:
    return Row(kind.reason, status, grpc_code, lambda error: f"simulation rejected: {error.summary}")


ROWS: Final[dict[type[PocketError], Row]] = {
    admission.UnreadBody: Row("read_body_error", 400, INVALID_ARGUMENT, "failed to read request body"),
    admission.BodyTooLarge: Row("body_too_large", 413, RESOURCE_EXHAUSTED, "request body too large"),
    admission.ServiceBodyTooLarge: Row(
        "body_too_large", 413, RESOURCE_EXHAUSTED, "request body too large for service"
    ),
    admission.NotARelay: Row("invalid_relay_request", 400, INVALID_ARGUMENT, admission.NotARelay.summary),
    admission.NoSigningKeys: Row(
        "response_signer_not_configured", 500, INTERNAL, "relayer not properly configured"
    ),
    admission.UnknownService: Row(
        "unknown_service", 404, NOT_FOUND, lambda error: f"unknown service: {error.service_id}"
    ),
    admission.OtherService: Row("service_mismatch", 403, PERMISSION_DENIED, admission.OtherService.summary),
    admission.MissingSupplier: Row(
        "missing_supplier_address", 400, INVALID_ARGUMENT, admission.MissingSupplier.summary
    ),
    UnreadableSupplier: Row("supplier_cache_error", 503, UNAVAILABLE, "failed to verify supplier state"),
    RegistryUnavailable: Row("supplier_cache_error", 503, UNAVAILABLE, "failed to verify supplier state"),
    SupplierNotRegistered: Row(
        "supplier_not_found", 503, UNAVAILABLE, _supplier_text("not registered with any miner")
    ),
    admission.SupplierInactive: Row(
        "supplier_inactive", 503, UNAVAILABLE, lambda error: f"supplier {error.supplier} is {error.status}"
    ),
    admission.SupplierWithoutServices: Row(
        "no_services", 503, UNAVAILABLE, _supplier_text("has no services registered")
    ),
    admission.SupplierWithoutService: Row(
        "wrong_service",
        503,
        UNAVAILABLE,
        lambda error: f"supplier {error.supplier} not staked for service {error.service_id}",
    ),
    ImplausibleHeights: Row(
        "implausible_session_heights", 400, INVALID_ARGUMENT, "implausible session heights"
    ),
    MeterUnavailable: Row("meter_error", 503, UNAVAILABLE, MeterUnavailable.summary),
    StakeExhausted: Row("stake_exhausted", 429, RESOURCE_EXHAUSTED, StakeExhausted.summary),
    ValidationFailed: Row(
        "validation_failed", 403, PERMISSION_DENIED, lambda error: f"relay validation failed: {error.detail}"
    ),
    TooManyFailures: Row("throttled", 429, RESOURCE_EXHAUSTED, TooManyFailures.summary),
    MalformedHandshake: Row(MalformedHandshake.reason, 400, INVALID_ARGUMENT, MalformedHandshake.summary),
    UnsignedHandshake: Row(UnsignedHandshake.reason, 403, PERMISSION_DENIED, UnsignedHandshake.summary),
    TooManyConnections: Row(TooManyConnections.reason, 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    TooMuchUnfinished: Row(TooMuchUnfinished.reason, 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    HeightUnknown: Row("height_unknown", 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    StoreAway: Row("store_unavailable", 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    StoreNearlyFull: Row("store_full", 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    StoreUnavailable: Row("store_unavailable", 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    StoreRefused: Row("store_unavailable", 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    PublishFailed: Row("publish_failed", 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    contract.NoBackend: Row("no_backend", 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    contract.BackendTimeout: Row("backend_timeout", 502, DEADLINE_EXCEEDED, "backend error"),
    contract.BackendFailed: Row("backend_network_error", 502, UNAVAILABLE, "backend error"),
    contract.ForbiddenRequest: Row(
        "forbidden_request", 400, INVALID_ARGUMENT, contract.ForbiddenRequest.summary
    ),
    ClientLeft: Row("client_disconnected", 400, INVALID_ARGUMENT, ClientLeft.summary),
    StreamCut: Row(StreamCut.reason, 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    BackendStatus: Row("backend_5xx", 0, UNAVAILABLE, "backend service error"),
    SigningFailed: Row("signing_error", 500, INTERNAL, "failed to sign response"),
    # Simulated relays (§2.10)
    SimulationReplayed: _simulation(SimulationReplayed, 409, ALREADY_EXISTS),
    simulation.SupplierMissing: _simulation(simulation.SupplierMissing, 400, INVALID_ARGUMENT),
    simulation.BadSimulatedSession: _simulation(simulation.BadSimulatedSession, 400, INVALID_ARGUMENT),
    simulation.ServiceNotConfigured: _simulation(simulation.ServiceNotConfigured, 404, NOT_FOUND),
    simulation.ReplaysUnknown: _simulation(simulation.ReplaysUnknown, 503, UNAVAILABLE),
    **{
        kind: _simulation(kind, 403, PERMISSION_DENIED)
        for kind in (
            simulation.SimulationRefused,
            simulation.UnknownKey,
            simulation.IdentityDisabled,
            simulation.IdentityExpired,
            simulation.SupplierNotLoaded,
            simulation.NotValid,
            simulation.IdentityMismatch,
            simulation.ServiceNotAllowed,
            simulation.OutsideWindow,
            simulation.SignatureInvalid,
        )
    },
    **{
        kind: Row(kind.reason, 429, RESOURCE_EXHAUSTED, kind.summary)
        for kind in (simulation.SimulationBusy, simulation.SimulationTooFast)
    },
    # What has no row of its own
    Malformed: Row("malformed", 400, INVALID_ARGUMENT, "malformed request"),
    Refused: Row("refused", 403, PERMISSION_DENIED, "refused"),
    Unavailable: Row("chain_unavailable", 503, UNAVAILABLE, NO_SERVICE, fast_fail=True),
    PocketError: Row("internal_error", 500, INTERNAL, "internal error"),
}
REASONS: Final = frozenset(row.reason for row in ROWS.values())


def row_of(kind: type[PocketError]) -> Row:
    """The row of a leaf, or of its nearest ancestor that has one."""
    return next(ROWS[ancestor] for ancestor in kind.__mro__ if ancestor in ROWS)


def text_of(error: PocketError) -> str:
    """What the sender is told, bounded."""
    text = row_of(type(error)).text
    return (text if isinstance(text, str) else text(error))[:MAX_TEXT]


def status_of(error: PocketError) -> int:
    row = row_of(type(error))
    if row.status:
        return row.status
    status = getattr(error, "status", 0)
    return status if 500 <= status <= 599 else 502


def refusal_answer(error: PocketError, service_id: str) -> Answer:
    """The HTTP answer to a refused relay: JSON, unsigned."""
    document = {"error": text_of(error)}
    if row_of(type(error)).fast_fail and service_id:
        document["service"] = service_id
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    encoded = body.encode("utf-8", "replace")
    return Answer(status_of(error), [("Content-Type", "application/json")], encoded)
