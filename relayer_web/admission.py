"""What is looked at before any signature: shape, service, transport, supplier, size, heights (spec/relayer.md §2.1-2.4).

    Malformed
    +-- UnreadBody, BodyTooLarge, ServiceBodyTooLarge, NotARelay, MissingSupplier
    Refused
    +-- UnknownService, OtherService, SupplierInactive, SupplierWithoutServices, SupplierWithoutService
    Unavailable
    +-- NoSigningKeys

All of it is cheap: no curve operation, no question to the chain; at most one look-up of the supplier's state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pocket_protocol import relay
from pocket_protocol.envelope import HttpRequest, decode_http_request
from pocket_protocol.errors import Malformed, Refused, Unavailable
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.session import check_heights_plausible
from relay_store.registry import RegistryUnavailable, SupplierNotRegistered, SupplierRegistry
from relayer_web.inbound import Inbound

TRANSPORT_BY_NUMBER: Final = {
    "1": "grpc",
    "2": "websocket",
    "3": "jsonrpc",
    "4": "rest",
    "5": "cometbft",
}


FRAMED: Final = "websocket"  # its frames have a bound of their own


class UnreadBody(Malformed):
    """The connection broke, or the client stopped, before the body was complete."""

    reason = "read_body_error"
    summary = "failed to read request body"


class BodyTooLarge(Malformed):
    """More bytes than any service takes."""

    reason = "body_too_large"
    summary = "request body too large"


class ServiceBodyTooLarge(Malformed):
    """More bytes than this service takes."""

    reason = "body_too_large"
    summary = "request body too large for service"


class NotARelay(Malformed):
    """Not a RelayRequest with a session header, a service and an HTTP request inside."""

    reason = "invalid_relay_request"
    summary = "invalid relay request: body must be a valid RelayRequest protobuf"


class MissingSupplier(Malformed):
    """No supplier is addressed."""

    reason = "missing_supplier_address"
    summary = "missing supplier operator address in relay request"


class NoSigningKeys(Unavailable):
    """This relayer holds no key at all, so it can answer nobody."""

    reason = "response_signer_not_configured"
    summary = "relayer not properly configured"


class UnknownService(Refused):
    """A service that is not in the configuration."""

    reason = "unknown_service"
    summary = "unknown service"
    service_id: str


class OtherService(Refused):
    """A relay for another service than the connection it came on is for."""

    reason = "service_mismatch"
    summary = "the connection is for another service"
    service_id: str


class SupplierInactive(Refused):
    """The supplier is not staked."""

    reason = "supplier_inactive"
    summary = "supplier is not active"
    supplier: str
    status: str


class SupplierWithoutServices(Refused):
    """The supplier is staked for nothing."""

    reason = "no_services"
    summary = "supplier has no services registered"
    supplier: str


class SupplierWithoutService(Refused):
    """The supplier is not staked for this service."""

    reason = "wrong_service"
    summary = "supplier is not staked for the service"
    supplier: str
    service_id: str


@dataclass(frozen=True, slots=True)
class ServedService:
    """A configured service as admission needs it."""

    service_id: str
    default_transport: str
    max_body_bytes: int


@dataclass(slots=True)
class Relay:
    """One relay on its way through the pipeline; everything in it is what the sender says."""

    request: RelayRequest
    header: SessionHeader
    service_id: str
    transport: str
    supplier: str
    inner: HttpRequest | None  # None for transports whose payload is not an HTTP request
    size: int
    peer: str


def parse(inbound: Inbound) -> tuple[RelayRequest, HttpRequest | None]:
    """Decode the envelope and the HTTP request inside it.

    Raises `BodyTooLarge` and `NotARelay`; the four ways to be no relay cannot be told apart.
    """
    if inbound.oversize:
        raise BodyTooLarge
    try:
        request = relay.decode_request(inbound.body)
        if not request.meta.HasField("session_header") or not request.meta.session_header.service_id:
            raise NotARelay
        if not request.payload:
            raise NotARelay
        inner = decode_http_request(request.payload) if inbound.transport is None else None
    except Malformed as error:
        raise NotARelay from error
    return request, inner


def transport_of(inbound: Inbound, service: ServedService, inner: HttpRequest | None) -> str:
    """The transport a relay asks for: a number or a name in `Rpc-Type`, else the service's default.

    A relay that came over gRPC may also say it by the content type of its inner request (§1.8).
    """
    if inbound.transport is not None:
        return inbound.transport
    asked = inbound.headers.get("rpc-type", "").strip()
    if not asked and inbound.is_grpc and inner is not None and _is_grpc(inner):
        return "grpc"
    return TRANSPORT_BY_NUMBER.get(asked, asked) or service.default_transport


def _is_grpc(inner: HttpRequest) -> bool:
    types = [values[0] for name, values in inner.headers if name.lower() == "content-type" and values]
    return bool(types) and types[0].startswith("application/grpc")


class Admission:
    """The gate in front of verification. `holds_key(S)` says whether this relayer can sign for a supplier."""

    def __init__(
        self,
        services: Mapping[str, ServedService],
        registry: SupplierRegistry,
        holds_key: Callable[[str], bool],
        has_keys: Callable[[], bool],
        *,
        on_optimistic: Callable[[Relay], None] = lambda relay: None,
        on_undeclared: Callable[[Relay], None] = lambda relay: None,
    ) -> None:
        self._services = services
        self._registry = registry
        self._holds_key = holds_key
        self._has_keys = has_keys
        self._on_optimistic = on_optimistic
        self._on_undeclared = on_undeclared

    def identify(self, inbound: Inbound) -> Relay:
        """Say which relay this is: parse it, find its service and transport."""
        request, inner = parse(inbound)
        header = request.meta.session_header
        if not self._has_keys():
            raise NoSigningKeys
        service = self._services.get(header.service_id)
        if service is None:
            raise UnknownService(service_id=header.service_id)
        return Relay(
            request=request,
            header=header,
            service_id=header.service_id,
            transport=transport_of(inbound, service, inner),
            supplier=request.meta.supplier_operator_address,
            inner=inner,
            size=len(inbound.body),
            peer=inbound.peer,
        )

    def check_service(self, service_id: str) -> None:
        """Check that relays for a service could be signed. Raises `NoSigningKeys`, `UnknownService`."""
        if not self._has_keys():
            raise NoSigningKeys
        if service_id not in self._services:
            raise UnknownService(service_id=service_id)

    def admit(self, relay: Relay, current_height: int) -> None:
        """Check supplier, size and heights. Raises the leaf that says why not."""
        if not relay.supplier:
            raise MissingSupplier
        self._check_supplier(relay)
        if relay.transport != FRAMED and relay.size > self._services[relay.service_id].max_body_bytes:
            raise ServiceBodyTooLarge
        header = relay.header
        check_heights_plausible(
            header.session_start_block_height, header.session_end_block_height, current_height
        )

    def _check_supplier(self, relay: Relay) -> None:
        """The supplier's state decides; where there is none, or none can be read, holding the key does (§2.3)."""
        try:
            state = self._registry.state(relay.supplier)
        except (SupplierNotRegistered, RegistryUnavailable):
            if not self._holds_key(relay.supplier):
                raise
            self._on_optimistic(relay)
            return
        if not state.is_active:
            raise SupplierInactive(supplier=relay.supplier, status=state.status)
        if not state.services:
            raise SupplierWithoutServices(supplier=relay.supplier)
        if relay.service_id not in state.services:
            raise SupplierWithoutService(supplier=relay.supplier, service_id=relay.service_id)
        if not state.declares(relay.service_id, relay.transport):
            self._on_undeclared(relay)
