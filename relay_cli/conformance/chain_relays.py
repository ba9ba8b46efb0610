"""Checks of chain_relays.json: envelopes, requests, responses, mined relays, their signatures and hashes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from pocket_protocol import relay, ring, signer
from pocket_protocol.address import address_bytes, address_of
from pocket_protocol.curve import Curve, load_curve
from pocket_protocol.difficulty import is_applicable
from pocket_protocol.envelope import (
    Headers,
    HttpRequest,
    HttpResponse,
    decode_http_request,
    decode_http_response,
    encode_http_request,
    encode_http_response,
)
from pocket_protocol.pb.pocket.service_pb2 import RelayMinerError, RelayRequest, RelayResponse
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.signer import PrivateKey
from pocket_protocol.wire import encode
from relay_cli.conformance.check import Case, Context, VectorFile, attempt
from relay_cli.conformance.relay_requests import contained, hashed, received, refusal

Recorded = Mapping[str, Any]


@functools.cache
def _curve() -> Curve:
    return load_curve(allow_slow_python=True)


def _headers(envelope: Recorded) -> Headers:
    return tuple((header["map_key"], tuple(header["values"])) for header in envelope["headers_sorted"])


def _envelope_cases(name: str, recorded: Recorded) -> Iterator[Case]:
    if "http_request" not in recorded:  # a WebSocket relay: the payload is the frame itself
        return
    sent, answered = recorded["http_request"], recorded["http_response"]
    request = HttpRequest(sent["method"], sent["url"], _headers(sent), bytes.fromhex(sent["body_hex"]))
    yield Case(f"{name} http_request", sent["marshaled_hex"], encode_http_request(request).hex())
    payload = bytes.fromhex(recorded["request"]["payload_hex"])
    yield Case(f"{name} http_request decoded", request, attempt(lambda: decode_http_request(payload)))
    response = HttpResponse(answered["status_code"], _headers(answered), bytes.fromhex(answered["body_hex"]))
    yield Case(f"{name} http_response", answered["marshaled_hex"], encode_http_response(response).hex())
    answer = bytes.fromhex(recorded["response"]["payload_hex"])
    yield Case(f"{name} http_response decoded", response, attempt(lambda: decode_http_response(answer)))


def _header(recorded: Recorded) -> SessionHeader:
    fields = {field: value for field, value in recorded["session_header"].items() if field != "marshaled_hex"}
    return SessionHeader(**fields)


def _request(recorded: Recorded) -> RelayRequest:
    request = RelayRequest(payload=bytes.fromhex(recorded["request"]["payload_hex"]))
    request.meta.session_header.CopyFrom(_header(recorded))
    request.meta.supplier_operator_address = recorded["supplier_operator_address"]
    request.meta.signature = bytes.fromhex(recorded["request"]["ring_signature_hex"])
    return request


def _request_cases(name: str, recorded: Recorded, request: RelayRequest) -> Iterator[Case]:
    expected = recorded["request"]
    header = recorded["session_header"]["marshaled_hex"]
    yield Case(f"{name} session_header", header, encode(request.meta.session_header).hex())
    for field, got in (
        ("marshaled_hex", relay.encode_request(request).hex()),
        ("marshaled_without_signature_hex", relay.signable_request_bytes(request).hex()),
        ("signable_hash_hex", relay.signable_request(request).hex()),
        ("validate_basic_error", refusal(relay.validate_request, request)),
    ):
        yield Case(f"{name} request {field}", expected[field], got)
    yield from _ring_cases(name, expected, relay.signable_request(request))


def _ring_cases(name: str, expected: Recorded, signable: bytes) -> Iterator[Case]:
    keys = [bytes.fromhex(member["public_key_hex"]) for member in expected["ring_in_order"]]
    for index, (member, key) in enumerate(zip(expected["ring_in_order"], keys, strict=True)):
        written = (
            address_of(key) if member["address"].startswith("pokt1") else address_bytes(key).hex().upper()
        )
        yield Case(f"{name} ring member {index}", member["address"], written)
    signature = bytes.fromhex(expected["ring_signature_hex"])
    verified = attempt(lambda: bool(ring.verify_ring(_curve(), signable, signature, frozenset(keys))))
    yield Case(f"{name} ring signature verifies", True, verified)
    signing_key = PrivateKey.from_hex(expected["ring_signer_private_key_hex"]).public_key(_curve())
    yield Case(f"{name} ring signer is a member", True, signing_key in keys)


def _response(recorded: Recorded, key: PrivateKey) -> RelayResponse:
    response = RelayResponse(payload=bytes.fromhex(recorded["response"]["payload_hex"]))
    response.meta.session_header.CopyFrom(_header(recorded))
    if "relay_miner_error" in recorded["response"]:
        response.relay_miner_error.CopyFrom(RelayMinerError(**recorded["response"]["relay_miner_error"]))
    response.payload_hash = relay.payload_hash(response.payload)
    signable = relay.signable_response(response)
    response.meta.supplier_operator_signature = signer.sign(_curve(), key, signable)
    return response


def _response_cases(
    name: str, recorded: Recorded, response: RelayResponse, key: PrivateKey
) -> Iterator[Case]:
    expected = recorded["response"]
    public_key = key.public_key(_curve())
    signable = relay.signable_response(response)
    yield Case(f"{name} supplier address", recorded["supplier_operator_address"], address_of(public_key))
    for field, got in (
        ("supplier_pubkey_hex", public_key.hex()),
        ("payload_hash_hex", response.payload_hash.hex()),
        ("signable_bytes_hex", relay.signable_response_bytes(response).hex()),
        ("signable_hash_hex", signable.hex()),
        ("ecdsa_digest_hex", sha256(signable).hexdigest()),
        ("supplier_signature_hex", response.meta.supplier_operator_signature.hex()),
        ("marshaled_hex", relay.encode_response(response).hex()),
        ("validate_basic_error", refusal(relay.validate_response, response)),
    ):
        yield Case(f"{name} response {field}", expected[field], got)


def _mined_cases(name: str, recorded: Recorded, mined: bytes) -> Iterator[Case]:
    relay_hash = relay.relay_hash(mined)
    yield Case(f"{name} relay marshaled_hex", recorded["relay"]["marshaled_hex"], mined.hex())
    yield Case(f"{name} relay relay_hash_hex", recorded["relay"]["relay_hash_hex"], relay_hash.hex())
    for index, entry in enumerate(recorded["relay"]["difficulty"]):
        got = is_applicable(relay_hash, bytes.fromhex(entry["target_hash_hex"]))
        yield Case(f"{name} difficulty {index}", entry["volume_applicable"], got)


def _relay_cases(name: str, recorded: Recorded) -> Iterator[Case]:
    key = PrivateKey.from_hex(recorded["supplier_private_key_hex"])
    request, response = _request(recorded), _response(recorded, key)
    yield from _envelope_cases(name, recorded)
    yield from _request_cases(name, recorded, request)
    yield from _response_cases(name, recorded, response, key)
    yield from _mined_cases(name, recorded, relay.mined_relay(request, response))


def _check_relays(relays: list[Recorded], _document: Recorded) -> Iterator[Case]:
    for recorded in relays:
        name = f"case {recorded['case']}"
        yield from contained(name, _relay_cases(name, recorded))


def _reencoding_cases(case: Recorded) -> Iterator[Case]:
    encoded, signable = received(bytes.fromhex(case["input_hex"]))
    yield Case(f"{case['case']}: refused", bool(case["unmarshal_error"]), encoded == "refused")
    if "reencoded_hex" in case:
        yield Case(f"{case['case']}: reencoded_hex", case["reencoded_hex"], encoded)
        yield Case(f"{case['case']}: signable_hash_hex", case["signable_hash_hex"], hashed(signable))


def _check_reencoded(cases: list[Recorded], _document: Recorded) -> Iterator[Case]:
    for case in cases:
        yield from contained(case["case"], _reencoding_cases(case))


def _request_edge_cases(case: Recorded) -> Iterator[Case]:
    request = relay.decode_request(bytes.fromhex(case["marshaled_hex"]))
    for field, got in (
        ("marshaled_hex", relay.encode_request(request).hex()),
        ("signable_hash_hex", relay.signable_request(request).hex()),
        ("validate_basic_error", refusal(relay.validate_request, request)),
    ):
        yield Case(f"{case['case']}: {field}", case[field], got)


def _check_request_edges(cases: list[Recorded], _document: Recorded) -> Iterator[Case]:
    for case in cases:
        yield from contained(case["case"], _request_edge_cases(case))


def _response_edge_cases(case: Recorded, key: PrivateKey) -> Iterator[Case]:
    response = relay.decode_response(bytes.fromhex(case["marshaled_hex"]))
    signable = relay.signable_response(response, hash_present=not case["payload_hash_is_nil"])
    for field, got in (
        ("marshaled_hex", relay.encode_response(response).hex()),
        ("signable_hash_hex", signable.hex()),
        ("supplier_signature_hex", signer.sign(_curve(), key, signable).hex()),
        ("validate_basic_error", refusal(relay.validate_response, response)),
    ):
        yield Case(f"{case['case']}: {field}", case[field], got)


def _check_response_edges(cases: list[Recorded], document: Recorded) -> Iterator[Case]:
    key = PrivateKey.from_hex(document["relays"][0]["supplier_private_key_hex"])  # one supplier signs all
    for case in cases:
        yield from contained(case["case"], _response_edge_cases(case, key))


CHAIN_RELAYS = VectorFile(
    "chain_relays",
    {
        "description": Context(),
        "relays": _check_relays,
        "decode_reencode": _check_reencoded,
        "request_edge_cases": _check_request_edges,
        "response_edge_cases": _check_response_edges,
    },
    {"decode_reencode.unmarshal_error": "the text of another decoder; that it refuses is checked"},
)
