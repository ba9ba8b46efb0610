"""Checks of relay_signing.json: rings of applications, whole relay requests judged, responses signed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pocket_protocol.address import address_of
from pocket_protocol.curve import POINT_SIZE
from pocket_protocol.errors import PocketError
from pocket_protocol.pb.pocket import shared_pb2
from pocket_protocol.pb.pocket.application_pb2 import Application, UndelegatingGatewayList
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest, RelayResponse
from pocket_protocol.relay import (
    decode_request,
    decode_response,
    encode_response,
    payload_hash,
    signable_request,
    signable_request_bytes,
    signable_response,
    validate_request,
    validate_response,
)
from pocket_protocol.ring import parse_ring, refusal_text, verify_ring
from pocket_protocol.ring_members import PLACEHOLDER_ADDRESS, expected_addresses, expected_keys
from pocket_protocol.session import session_end
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.signer import PrivateKey, sign
from pocket_protocol.types import Address
from relay_cli.conformance.check import Case, Context, VectorFile
from relay_cli.conformance.shared_curve import shared_curve


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _accounts(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the keys the rings of the file name, each under the address it really has."""
    keys = (_key(text) for ring in document["rings"] for text in ring["ring_pubs_in_order"])
    return {address_of(key): key for key in keys if len(key) == POINT_SIZE}


def _addresses(scenario: Mapping[str, Any]) -> list[Address]:
    params = SharedParams.from_proto(
        shared_pb2.Params(num_blocks_per_session=scenario["num_blocks_per_session"])
    )
    application = Application(
        address=scenario["application"],
        delegatee_gateway_addresses=scenario["delegatee_gateways"] or [],
        pending_undelegations={
            int(height): UndelegatingGatewayList(gateway_addresses=gateways)
            for height, gateways in scenario["pending_undelegations"].items()
        },
    )
    return expected_addresses(application, session_end(params, scenario["block_height"]))


def _check_rings(scenarios: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    accounts = _accounts(document)
    for index, scenario in enumerate(scenarios):
        try:
            got: object = [key.hex() for key in expected_keys(_addresses(scenario), accounts.get)]
        except PocketError as error:
            got = str(error)
        yield Case(f"{index} {scenario['label']}", scenario["ring_pubs_in_order"], got)


def _expected_signers(scenario: Mapping[str, Any], signature: bytes) -> frozenset[bytes]:
    """Return the keys of the scenario's ring as far as this signature could use them."""
    own = {address_of(key): key for key in parse_ring(signature).public_keys}
    addresses = [a for a in _addresses(scenario) if a in own or a == PLACEHOLDER_ADDRESS]
    return frozenset(expected_keys(addresses, own.get))


def _judge(request: RelayRequest, scenario: Mapping[str, Any]) -> str:
    """Return the text of the refusal, empty when the request is accepted."""
    validate_request(request)
    signature = request.meta.signature
    try:
        keys = _expected_signers(scenario, signature)
        verify_ring(shared_curve(), signable_request(request), signature, keys)
    except PocketError as error:
        return refusal_text(error, request.meta.session_header.application_address)
    return ""


def _check_relays(relays: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for index, relay in enumerate(relays):
        name = f"{index} {relay['label']}"
        try:
            request = decode_request(bytes.fromhex(relay["request"]))
            signable, unsigned = signable_request(request).hex(), signable_request_bytes(request).hex()
            refusal = _judge(request, document["rings"][relay["scenario"]])
        except PocketError as error:
            refusal = signable = unsigned = str(error)
        yield Case(f"{name} unsigned_request", relay["unsigned_request"], unsigned)
        yield Case(f"{name} signable_hash", relay["signable_hash"], signable)
        yield Case(f"{name} accept", relay["accept"], refusal == "")
        yield Case(f"{name} reference_error", relay.get("reference_error", ""), refusal)


def _response_fields(vector: Mapping[str, Any]) -> dict[str, object]:
    response: RelayResponse = decode_response(bytes.fromhex(vector["unsigned_response"]))
    key = PrivateKey.from_hex(vector["supplier_priv"])
    response.payload_hash = payload_hash(response.payload)
    signable = signable_response(response)
    response.meta.supplier_operator_signature = sign(shared_curve(), key, signable)
    validate_response(response)
    fields: dict[str, object] = {
        "payload_hash": response.payload_hash.hex(),
        "signable_hash": signable.hex(),
        "signature": response.meta.supplier_operator_signature.hex(),
        "signed_response": encode_response(response).hex(),
        "supplier_address": address_of(key.public_key(shared_curve())),
    }
    response.ClearField("payload")
    return fields | {"signed_response_without_payload": encode_response(response).hex()}


def _check_responses(responses: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for index, vector in enumerate(responses):
        try:
            fields = _response_fields(vector)
        except PocketError as error:
            fields = dict.fromkeys(vector, str(error))
        for field, expected in vector.items():
            if field not in ("unsigned_response", "supplier_priv"):
                yield Case(f"{index} {field}", expected, fields.get(field))


def _check_empty_payload(expected: str, document: Mapping[str, Any]) -> Iterator[Case]:
    try:
        got = payload_hash(b"").hex()
    except PocketError as error:
        got = f"failed to update payload hash: {error}"
    yield Case("empty_payload_error", expected, got)


RELAY_SIGNING = VectorFile(
    "relay_signing",
    {
        "_about": Context(),
        "keys_file": Context(),
        "rings": _check_rings,
        "relays": _check_relays,
        "responses": _check_responses,
        "empty_payload_error": _check_empty_payload,
    },
)
