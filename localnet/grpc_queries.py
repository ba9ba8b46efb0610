"""The query services of the pocket modules (spec/chain.md §1), one function per method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localnet import registered_errors as errors
from localnet.context import Context
from localnet.paging import page
from localnet.registered_errors import StatusRefused, internal, invalid_argument, not_found
from localnet.services import base_difficulty, compute_units_per_relay_at, difficulty_at
from localnet.sessions import NoSession, hydrate
from localnet.state import (
    APPLICATION,
    CLAIM,
    DIFFICULTY,
    DIFFICULTY_HISTORY,
    GATEWAY,
    PROOF,
    SERVICE,
    SUPPLIER,
    UNITS_HISTORY,
)
from pocket_protocol.address import parse_address
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket import (
    application_pb2,
    gateway_pb2,
    proof_pb2,
    service_pb2,
    session_pb2,
    shared_pb2,
    supplier_pb2,
    tokenomics_pb2,
)
from pocket_protocol.session_header import RegisteredError, validate_service_id

Query = Callable[[Context, Any], Any]


def _params_of(module: str, response: Any) -> Query:
    return lambda context, request: response(params=context.params(module))


def _keyed(context: Context, table: str) -> list[tuple[bytes, Any]]:
    return [(repr(key).encode(), value) for key, value in context.state.items(table)]


# --- shared, session ----------------------------------------------------------------------------


def shared_params_at_height(
    context: Context, request: shared_pb2.QueryParamsAtHeightRequest
) -> shared_pb2.QueryParamsAtHeightResponse:
    if request.height < 0:
        raise invalid_argument("height must be non-negative")
    params = context.shared_at(request.height) if request.height else context.shared
    return shared_pb2.QueryParamsAtHeightResponse(params=params.to_proto())


def get_session(
    context: Context, request: session_pb2.QueryGetSessionRequest
) -> session_pb2.QueryGetSessionResponse:
    try:
        parse_address(request.application_address)
    except Malformed as error:
        raise invalid_argument(errors.SESSION_INVALID_APP_ADDRESS.wrap(str(error))) from error
    try:
        validate_service_id(request.service_id)
    except RegisteredError as error:
        raise invalid_argument(str(error)) from error
    if request.block_height < 0:
        text = f"invalid block height for session being retrieved {request.block_height};"
        raise invalid_argument(errors.SESSION_INVALID_BLOCK_HEIGHT.wrap(text))
    height = request.block_height or context.height
    try:
        session = hydrate(context, request.application_address, request.service_id, height)
    except NoSession as error:
        raise internal(str(error)) from error
    return session_pb2.QueryGetSessionResponse(session=session)


# --- application, gateway -----------------------------------------------------------------------


def application(
    context: Context, request: application_pb2.QueryGetApplicationRequest
) -> application_pb2.QueryGetApplicationResponse:
    found = context.state.get(APPLICATION, request.address)
    if found is None:
        raise not_found(errors.APPLICATION_NOT_FOUND.wrap(f"app address: {request.address}"))
    return application_pb2.QueryGetApplicationResponse(application=found)


def all_applications(
    context: Context, request: application_pb2.QueryAllApplicationsRequest
) -> application_pb2.QueryAllApplicationsResponse:
    gateway_address = request.delegatee_gateway_address
    found = [
        (key, app)
        for key, app in _keyed(context, APPLICATION)
        if not gateway_address or gateway_address in app.delegatee_gateway_addresses
    ]
    shown, pagination = page(found, request.pagination)
    return application_pb2.QueryAllApplicationsResponse(applications=shown, pagination=pagination)


def gateway(
    context: Context, request: gateway_pb2.QueryGetGatewayRequest
) -> gateway_pb2.QueryGetGatewayResponse:
    found = context.state.get(GATEWAY, request.address)
    if found is None:
        raise not_found(f"gateway not found: address {request.address}")
    return gateway_pb2.QueryGetGatewayResponse(gateway=found)


def all_gateways(
    context: Context, request: gateway_pb2.QueryAllGatewaysRequest
) -> gateway_pb2.QueryAllGatewaysResponse:
    shown, pagination = page(_keyed(context, GATEWAY), request.pagination)
    return gateway_pb2.QueryAllGatewaysResponse(gateways=shown, pagination=pagination)


# --- supplier -----------------------------------------------------------------------------------


def shown_supplier(stored: shared_pb2.Supplier, height: int, dehydrated: bool) -> shared_pb2.Supplier:
    """Return a supplier as queries show it: the services active at `height`; dehydrated without history."""
    shown = shared_pb2.Supplier()
    shown.CopyFrom(stored)
    for update in stored.service_config_history:
        ended = update.deactivation_height and update.deactivation_height <= height
        if update.activation_height <= height and not ended:
            shown.services.append(update.service)
    if dehydrated:
        del shown.service_config_history[:]
        for service in shown.services:
            del service.rev_share[:]
    return shown


def supplier(
    context: Context, request: supplier_pb2.QueryGetSupplierRequest
) -> supplier_pb2.QueryGetSupplierResponse:
    found = context.state.get(SUPPLIER, request.operator_address)
    if found is None:
        text = f'supplier with operator address: "{request.operator_address}"'
        raise not_found(errors.SUPPLIER_NOT_FOUND.wrap(text))
    shown = shown_supplier(found, context.height, request.dehydrated)
    return supplier_pb2.QueryGetSupplierResponse(supplier=shown)


def all_suppliers(
    context: Context, request: supplier_pb2.QueryAllSuppliersRequest
) -> supplier_pb2.QueryAllSuppliersResponse:
    found = []
    for key, stored in _keyed(context, SUPPLIER):
        shown = shown_supplier(stored, context.height, request.dehydrated)
        fits = (
            not request.service_id or request.service_id in {s.service_id for s in shown.services},
            not request.operator_address or request.operator_address == shown.operator_address,
            not request.owner_address or request.owner_address == shown.owner_address,
        )
        if all(fits):
            found.append((key, shown))
    listed, pagination = page(found, request.pagination)
    return supplier_pb2.QueryAllSuppliersResponse(supplier=listed, pagination=pagination)


# --- service ------------------------------------------------------------------------------------


def _unknown_service(service_id: str) -> StatusRefused:
    return not_found(errors.SERVICE_NOT_FOUND.wrap(f"serviceID: {service_id}"))


def service(
    context: Context, request: service_pb2.QueryGetServiceRequest
) -> service_pb2.QueryGetServiceResponse:
    found = context.state.get(SERVICE, request.id)
    if found is None:
        raise not_found(f'service ID not found: "{request.id}"')
    return service_pb2.QueryGetServiceResponse(service=found)


def all_services(
    context: Context, request: service_pb2.QueryAllServicesRequest
) -> service_pb2.QueryAllServicesResponse:
    shown, pagination = page(_keyed(context, SERVICE), request.pagination)
    return service_pb2.QueryAllServicesResponse(service=shown, pagination=pagination)


def difficulty(
    context: Context, request: service_pb2.QueryGetRelayMiningDifficultyRequest
) -> service_pb2.QueryGetRelayMiningDifficultyResponse:
    if context.state.get(SERVICE, request.serviceId) is None:
        raise _unknown_service(request.serviceId)
    found = context.state.get(DIFFICULTY, request.serviceId)
    found = found or base_difficulty(context, request.serviceId, context.height)
    return service_pb2.QueryGetRelayMiningDifficultyResponse(relayMiningDifficulty=found)


def all_difficulties(
    context: Context, request: service_pb2.QueryAllRelayMiningDifficultyRequest
) -> service_pb2.QueryAllRelayMiningDifficultyResponse:
    shown, pagination = page(_keyed(context, DIFFICULTY), request.pagination)
    return service_pb2.QueryAllRelayMiningDifficultyResponse(
        relayMiningDifficulty=shown, pagination=pagination
    )


def difficulty_at_height(
    context: Context, request: service_pb2.QueryGetRelayMiningDifficultyAtHeightRequest
) -> service_pb2.QueryGetRelayMiningDifficultyAtHeightResponse:
    if context.state.get(SERVICE, request.serviceId) is None:
        raise _unknown_service(request.serviceId)
    found = difficulty_at(context, request.serviceId, request.blockHeight)
    return service_pb2.QueryGetRelayMiningDifficultyAtHeightResponse(relayMiningDifficulty=found)


def difficulty_history(
    context: Context, request: service_pb2.QueryRelayMiningDifficultyHistoryRequest
) -> service_pb2.QueryRelayMiningDifficultyHistoryResponse:
    found = [
        (
            height.to_bytes(8, "big"),
            service_pb2.RelayMiningDifficultyUpdate(effective_height=height, difficulty=recorded),
        )
        for height, recorded in context.state.get(DIFFICULTY_HISTORY, request.serviceId, ())
    ]
    shown, pagination = page(found, request.pagination)
    return service_pb2.QueryRelayMiningDifficultyHistoryResponse(
        relayMiningDifficultyHistory=shown, pagination=pagination
    )


def units_at_height(
    context: Context, request: service_pb2.QueryComputeUnitsPerRelayAtHeightRequest
) -> service_pb2.QueryComputeUnitsPerRelayAtHeightResponse:
    units = compute_units_per_relay_at(context, request.serviceId, request.blockHeight)
    if units is None:
        raise _unknown_service(request.serviceId)
    return service_pb2.QueryComputeUnitsPerRelayAtHeightResponse(computeUnitsPerRelay=units)


def units_history(
    context: Context, request: service_pb2.QueryComputeUnitsPerRelayHistoryRequest
) -> service_pb2.QueryComputeUnitsPerRelayHistoryResponse:
    found = [
        (
            height.to_bytes(8, "big"),
            service_pb2.ServiceComputeUnitsPerRelayUpdate(
                effective_height=height, service_id=request.serviceId, compute_units_per_relay=units
            ),
        )
        for height, units in context.state.get(UNITS_HISTORY, request.serviceId, ())
    ]
    shown, pagination = page(found, request.pagination)
    return service_pb2.QueryComputeUnitsPerRelayHistoryResponse(
        computeUnitsPerRelayHistory=shown, pagination=pagination
    )


# --- proof --------------------------------------------------------------------------------------


def _check_claim_address(address: str, kind: str) -> None:
    try:
        parse_address(address)
    except Malformed as error:
        text = f"invalid supplier operator address for {kind} being retrieved {address}; ({error})"
        raise invalid_argument(errors.PROOF_INVALID_ADDRESS.wrap(text)) from error


def _of_session(context: Context, table: str, request: Any, error: errors.Registered) -> Any:
    found = context.state.get(table, (request.session_id, request.supplier_operator_address))
    if found is None:
        text = f'session ID "{request.session_id}" and supplier "{request.supplier_operator_address}"'
        raise not_found(error.wrap(text))
    return found


def claim(context: Context, request: proof_pb2.QueryGetClaimRequest) -> proof_pb2.QueryGetClaimResponse:
    _check_claim_address(request.supplier_operator_address, "claim")
    found = _of_session(context, CLAIM, request, errors.PROOF_CLAIM_NOT_FOUND)
    return proof_pb2.QueryGetClaimResponse(claim=found)


def all_claims(
    context: Context, request: proof_pb2.QueryAllClaimsRequest
) -> proof_pb2.QueryAllClaimsResponse:
    found = [(key, c) for key, c in _keyed(context, CLAIM) if _is_wanted(c, request)]
    shown, pagination = page(found, request.pagination)
    return proof_pb2.QueryAllClaimsResponse(claims=shown, pagination=pagination)


def _is_wanted(stored: proof_pb2.Claim, request: proof_pb2.QueryAllClaimsRequest) -> bool:
    wanted = request.WhichOneof("filter")
    if wanted == "supplier_operator_address":
        return stored.supplier_operator_address == request.supplier_operator_address
    if wanted == "session_id":
        return stored.session_header.session_id == request.session_id
    if wanted == "session_end_height":
        return stored.session_header.session_end_block_height == request.session_end_height
    return True


def proof(context: Context, request: proof_pb2.QueryGetProofRequest) -> proof_pb2.QueryGetProofResponse:
    _check_claim_address(request.supplier_operator_address, "proof")
    found = _of_session(context, PROOF, request, errors.PROOF_PROOF_NOT_FOUND)
    return proof_pb2.QueryGetProofResponse(proof=found)


def all_proofs(
    context: Context, request: proof_pb2.QueryAllProofsRequest
) -> proof_pb2.QueryAllProofsResponse:
    shown, pagination = page(_keyed(context, PROOF), request.pagination)
    return proof_pb2.QueryAllProofsResponse(proofs=shown, pagination=pagination)


QUERIES: dict[str, Query] = {
    "/pocket.shared.Query/Params": _params_of("shared", shared_pb2.QueryParamsResponse),
    "/pocket.shared.Query/ParamsAtHeight": shared_params_at_height,
    "/pocket.session.Query/Params": _params_of("session", session_pb2.QueryParamsResponse),
    "/pocket.session.Query/GetSession": get_session,
    "/pocket.application.Query/Params": _params_of("application", application_pb2.QueryParamsResponse),
    "/pocket.application.Query/Application": application,
    "/pocket.application.Query/AllApplications": all_applications,
    "/pocket.gateway.Query/Params": _params_of("gateway", gateway_pb2.QueryParamsResponse),
    "/pocket.gateway.Query/Gateway": gateway,
    "/pocket.gateway.Query/AllGateways": all_gateways,
    "/pocket.supplier.Query/Params": _params_of("supplier", supplier_pb2.QueryParamsResponse),
    "/pocket.supplier.Query/Supplier": supplier,
    "/pocket.supplier.Query/AllSuppliers": all_suppliers,
    "/pocket.service.Query/Params": _params_of("service", service_pb2.QueryParamsResponse),
    "/pocket.service.Query/Service": service,
    "/pocket.service.Query/AllServices": all_services,
    "/pocket.service.Query/RelayMiningDifficulty": difficulty,
    "/pocket.service.Query/RelayMiningDifficultyAll": all_difficulties,
    "/pocket.service.Query/RelayMiningDifficultyAtHeight": difficulty_at_height,
    "/pocket.service.Query/RelayMiningDifficultyHistory": difficulty_history,
    "/pocket.service.Query/ComputeUnitsPerRelayAtHeight": units_at_height,
    "/pocket.service.Query/ComputeUnitsPerRelayHistory": units_history,
    "/pocket.proof.Query/Params": _params_of("proof", proof_pb2.QueryParamsResponse),
    "/pocket.proof.Query/Claim": claim,
    "/pocket.proof.Query/AllClaims": all_claims,
    "/pocket.proof.Query/Proof": proof,
    "/pocket.proof.Query/AllProofs": all_proofs,
    "/pocket.tokenomics.Query/Params": _params_of("tokenomics", tokenomics_pb2.QueryParamsResponse),
}
