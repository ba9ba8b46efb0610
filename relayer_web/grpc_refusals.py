"""What a gRPC client is told of a refused relay, where it is not what HTTP says (spec/relayer.md §1.8).

Code and text of everything else are the gRPC column and the text of `refusals`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pocket_protocol import relay as relay_protocol
from pocket_protocol.errors import Malformed, PocketError
from relay_store.meter import StakeExhausted
from relay_store.registry import SupplierNotRegistered
from relayer_web.admission import MissingSupplier, NotARelay, Relay, UnreadBody
from relayer_web.backends.contract import NoBackend
from relayer_web.refusals import (
    INTERNAL,
    INVALID_ARGUMENT,
    MAX_TEXT,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    BackendStatus,
    InternalError,
    row_of,
    text_of,
)
from relayer_web.responses import SigningFailed
from relayer_web.verification import ValidationFailed

OK: Final = 0
FAILED_PRECONDITION: Final = 9
UNIMPLEMENTED: Final = 12
NOT_OURS: Final = "supplier_not_ours"
Status = tuple[int, str]

_TEXTS: Final[dict[type[PocketError], tuple[int, Callable[[Any, str], str]]]] = {
    UnreadBody: (INVALID_ARGUMENT, lambda error, service: f"failed to receive request: {error}"),
    MissingSupplier: (
        INVALID_ARGUMENT,
        lambda error, service: "missing supplier operator address in RelayRequest",
    ),
    SupplierNotRegistered: (
        FAILED_PRECONDITION,
        lambda error, service: f"no signer for supplier {error.supplier}",
    ),
    StakeExhausted: (RESOURCE_EXHAUSTED, lambda error, service: "relay rejected - stake limit exceeded"),
    NoBackend: (UNAVAILABLE, lambda error, service: f"all backends unhealthy for service {service}"),
    BackendStatus: (UNAVAILABLE, lambda error, service: f"backend service error: HTTP {error.status}"),
    SigningFailed: (
        INTERNAL,
        lambda error, service: f"failed to build/sign response: no key of supplier {error.supplier}",
    ),
    InternalError: (INTERNAL, lambda error, service: "internal server error"),
}


def grpc_refusal(error: PocketError, relay: Relay | None, body: bytes) -> Status:
    """Return the gRPC code and the bounded text of a refusal; `body` is the request that was refused."""
    code, text = _status(error, relay, body)
    return code, text[:MAX_TEXT]


def _status(error: PocketError, relay: Relay | None, body: bytes) -> Status:
    if isinstance(error, NotARelay):
        return _not_a_relay(body)
    if isinstance(error, ValidationFailed) and error.cause_reason == NOT_OURS and relay:
        return FAILED_PRECONDITION, f"no signer for supplier {relay.supplier}"
    special = _TEXTS.get(type(error))
    if special is None:
        return row_of(type(error)).grpc_code, text_of(error)
    return special[0], special[1](error, relay.service_id if relay else "")


def _not_a_relay(body: bytes) -> Status:
    """Which of the four ways to be no relay it was: over gRPC they can be told apart."""
    try:
        meta = relay_protocol.decode_request(body).meta
    except Malformed as error:
        return INTERNAL, f"grpc: failed to unmarshal the received message: {error}"
    if not meta.HasField("session_header"):
        return INVALID_ARGUMENT, "missing session header in RelayRequest"
    if not meta.session_header.service_id:
        return INVALID_ARGUMENT, "missing service ID in session header"
    return INVALID_ARGUMENT, "failed to deserialize POKTHTTPRequest: not an HTTP request"
