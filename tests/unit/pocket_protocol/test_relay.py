"""Signable hashes, basic checks and mined bytes of relays against recorded ones."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings

from pocket_protocol import canonical, relay, wire
from pocket_protocol.difficulty import is_applicable
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.service_pb2 import Relay, RelayRequest, RelayResponse
from pocket_protocol.relay import InvalidRelayRequest, InvalidRelayResponse
from tests.unit.pocket_protocol.relay_messages import requests, responses
from tests.vectors import load

RECORDED = load("chain_relays")
RELAYS = RECORDED["relays"]
named = {"ids": lambda case: case.get("name") or case.get("case") or case.get("label")}


@pytest.mark.parametrize("recorded", RELAYS, **named)
def test_relays_equal_the_network(recorded: dict) -> None:
    request = relay.decode_request(bytes.fromhex(recorded["request"]["marshaled_hex"]))
    response = relay.decode_response(bytes.fromhex(recorded["response"]["marshaled_hex"]))
    assert (
        relay.signable_request_bytes(request).hex() == recorded["request"]["marshaled_without_signature_hex"]
    )
    assert relay.signable_request(request).hex() == recorded["request"]["signable_hash_hex"]
    assert relay.signable_response_bytes(response).hex() == recorded["response"]["signable_bytes_hex"]
    assert relay.signable_response(response).hex() == recorded["response"]["signable_hash_hex"]
    assert relay.payload_hash(response.payload).hex() == recorded["response"]["payload_hash_hex"]
    mined = relay.mined_relay(request, response)
    assert mined.hex() == recorded["relay"]["marshaled_hex"]
    assert relay.relay_hash(mined).hex() == recorded["relay"]["relay_hash_hex"]
    for case in recorded["relay"]["difficulty"]:
        target = bytes.fromhex(case["target_hash_hex"])
        assert is_applicable(relay.relay_hash(mined), target) == case["volume_applicable"]
    relay.validate_request(request)
    relay.validate_response(response)


@pytest.mark.parametrize("case", load("signable_bytes")["vectors"], **named)
def test_odd_encodings_have_the_signable_bytes_of_the_network(case: dict) -> None:
    data = bytes.fromhex(case["in"])
    if "unmarshal_error" in case or "UTF-8" in case["label"]:
        with pytest.raises(Malformed):
            relay.decode_request(data)
        return
    request = relay.decode_request(data)
    assert relay.signable_request_bytes(request).hex() == case["signable_bytes"]
    assert relay.signable_request(request).hex() == case["signable_hash"]


def _text(check, message) -> str:
    try:
        check(message)
    except Malformed as error:
        return str(error)
    return ""


@pytest.mark.parametrize("case", RECORDED["request_edge_cases"], **named)
def test_request_edge_cases(case: dict) -> None:
    request = relay.decode_request(bytes.fromhex(case["marshaled_hex"]))
    assert relay.encode_request(request).hex() == case["marshaled_hex"]
    assert relay.signable_request(request).hex() == case["signable_hash_hex"]
    assert _text(relay.validate_request, request) == case["validate_basic_error"]


@pytest.mark.parametrize("case", RECORDED["response_edge_cases"], **named)
def test_response_edge_cases(case: dict) -> None:
    response = relay.decode_response(bytes.fromhex(case["marshaled_hex"]))
    signable = relay.signable_response(response, hash_present=not case["payload_hash_is_nil"])
    assert signable.hex() == case["signable_hash_hex"]
    assert _text(relay.validate_response, response) == case["validate_basic_error"]


def test_a_hash_field_that_is_empty_counts_only_when_said() -> None:
    response = RelayResponse(payload=b"abc")
    assert relay.signable_response(response) == sha256(b"\x0a\x00\x12\x03abc").digest()
    assert relay.signable_response(response, hash_present=True) == sha256(b"\x0a\x00").digest()


def test_an_empty_payload_has_no_hash() -> None:
    with pytest.raises(InvalidRelayResponse) as refused:
        relay.payload_hash(b"")
    assert str(refused.value) == (
        "attempted to update payload hash with an empty payload: invalid relay response"
    )


def test_missing_parts_are_named_in_the_order_of_the_network() -> None:
    request = relay.decode_request(bytes.fromhex(RELAYS[0]["request"]["marshaled_hex"]))
    request.meta.supplier_operator_address = ""
    assert _text(relay.validate_request, request).startswith(
        "relay metadata missing supplier operator address"
    )
    request.meta.signature = b""
    assert _text(relay.validate_request, request).startswith("missing application signature")
    header = request.meta.session_header
    header.session_end_block_height = header.session_start_block_height
    assert "end block height cannot be less than or equal" in _text(relay.validate_request, request)
    header.session_start_block_height = 0
    assert "can only start at height 1" in _text(relay.validate_request, request)
    header.service_id = "eth\n"
    assert "contains invalid characters" in _text(relay.validate_request, request)
    header.session_id = ""
    assert "invalid sessionId" in _text(relay.validate_request, request)
    header.application_address = "pokt1zzz"
    assert "invalid application address" in _text(relay.validate_request, request)
    request.meta.ClearField("session_header")
    with pytest.raises(InvalidRelayRequest, match="missing session header") as refused:
        relay.validate_request(request)
    assert (refused.value.codespace, refused.value.code) == ("service", 1111)


@settings(max_examples=150)
@given(requests)
def test_signable_request_is_the_encoding_without_the_signature(request: RelayRequest) -> None:
    before = request.SerializeToString(deterministic=True)
    signable = relay.signable_request_bytes(request)
    assert request.SerializeToString(deterministic=True) == before
    request.meta.ClearField("signature")
    assert signable == wire.encode(request)


@settings(max_examples=150)
@given(requests, responses)
def test_mined_relay_is_the_encoding_without_the_payload(
    request: RelayRequest, response: RelayResponse
) -> None:
    mined = relay.mined_relay(request, response)
    assert canonical.recode(Relay.DESCRIPTOR, mined) == mined
    signable = relay.signable_response_bytes(response)
    answer = relay.encode_response(response)
    assert relay.encode_response(relay.decode_response(answer)) == answer
    response.ClearField("payload")
    assert mined == wire.encode(Relay(req=request, res=response))
    if response.payload_hash:
        response.meta.ClearField("supplier_operator_signature")
        assert signable == wire.encode(response)


@settings(max_examples=100)
@given(requests | responses)
def test_basic_checks_raise_nothing_else(message: RelayRequest | RelayResponse) -> None:
    check = relay.validate_request if isinstance(message, RelayRequest) else relay.validate_response
    _text(check, message)
