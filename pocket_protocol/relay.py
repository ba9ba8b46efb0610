"""A relay: what its two sides sign, and what of it is mined (spec/chain.md §4, signatures.md §2, §8).

    signable request  = sha256(request without meta.signature)
    signable response = sha256(response without meta.supplier_operator_signature and without payload)
    mined relay       = Relay{request, response without payload};  relay hash = sha256 of its bytes

All of it is over canonical encodings, never over the bytes that arrived.
"""

from __future__ import annotations

from hashlib import sha256

from pocket_protocol.canonical import varint
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest, RelayResponse
from pocket_protocol.session_header import RegisteredError, validate_session_header
from pocket_protocol.types import RelayHash
from pocket_protocol.wire import decode_strict

# Tags of the fields that are put together by hand: (field number << 3) | 2
_META = b"\x0a"
_PAYLOAD = b"\x12"
_SESSION_HEADER = b"\x0a"
_SUPPLIER_OPERATOR_ADDRESS = b"\x1a"
_RELAY_MINER_ERROR = b"\x1a"
_PAYLOAD_HASH = b"\x22"
_REQ = b"\x0a"
_RES = b"\x12"


class InvalidRelayRequest(RegisteredError):
    """A request the network's basic validation refuses."""

    reason = "invalid_relay_request"
    summary = "invalid relay request"
    codespace, code = "service", 1111


class InvalidRelayResponse(RegisteredError):
    """A response the network's basic validation refuses, or one that cannot be signed."""

    reason = "invalid_relay_response"
    summary = "invalid relay response"
    codespace, code = "service", 1110


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + varint(len(value)) + value


def decode_request(data: bytes) -> RelayRequest:
    """Parse a relay request as strictly as the network does. Raises `wire.Undecodable`."""
    return decode_strict(RelayRequest, data)


def decode_response(data: bytes) -> RelayResponse:
    """Parse a relay response as strictly as the network does. Raises `wire.Undecodable`."""
    return decode_strict(RelayResponse, data)


def encode_request(request: RelayRequest) -> bytes:
    """Return the canonical bytes of `request`."""
    request.meta.SetInParent()
    return request.SerializeToString()


def encode_response(response: RelayResponse) -> bytes:
    """Return the canonical bytes of `response`, payload included."""
    response.meta.SetInParent()
    return response.SerializeToString()


def validate_request(request: RelayRequest) -> None:
    """The network's RelayRequest.ValidateBasic, in its order (spec/chain.md §4.1).

    Raises `InvalidRelayRequest` with the network's text.
    """
    meta = request.meta
    if not meta.HasField("session_header"):
        raise InvalidRelayRequest("missing session header")
    try:
        validate_session_header(meta.session_header)
    except Malformed as error:
        raise InvalidRelayRequest(f"invalid session header: {error}") from error
    if not meta.signature:
        raise InvalidRelayRequest("missing application signature")
    if not meta.supplier_operator_address:
        raise InvalidRelayRequest("relay metadata missing supplier operator address")


def validate_response(response: RelayResponse) -> None:
    """The network's RelayResponse.ValidateBasic (spec/chain.md §4.3); a payload hash is not required.

    Raises `InvalidRelayResponse` with the network's text.
    """
    meta = response.meta
    if not meta.HasField("session_header"):
        raise InvalidRelayResponse("missing meta")
    try:
        validate_session_header(meta.session_header)
    except Malformed as error:
        raise InvalidRelayResponse(f"invalid session header: {error}") from error
    if not meta.supplier_operator_signature:
        raise InvalidRelayResponse("missing supplier operator signature")


def signable_request_bytes(request: RelayRequest) -> bytes:
    """Return the canonical bytes of `request` without its signature; `request` keeps it."""
    meta = request.meta
    unsigned = b""
    if meta.HasField("session_header"):
        unsigned = _field(_SESSION_HEADER, meta.session_header.SerializeToString())
    if meta.supplier_operator_address:
        unsigned += _field(_SUPPLIER_OPERATOR_ADDRESS, meta.supplier_operator_address.encode())
    signable = _field(_META, unsigned)
    if request.payload:
        signable += _field(_PAYLOAD, request.payload)
    return signable


def signable_request(request: RelayRequest) -> bytes:
    """Return the 32 bytes a ring signature of this request signs (spec/signatures.md §2)."""
    return sha256(signable_request_bytes(request)).digest()


def _response_after_payload(response: RelayResponse) -> bytes:
    tail = b""
    if response.HasField("relay_miner_error"):
        tail = _field(_RELAY_MINER_ERROR, response.relay_miner_error.SerializeToString())
    if response.payload_hash:
        tail += _field(_PAYLOAD_HASH, response.payload_hash)
    return tail


def signable_response_bytes(response: RelayResponse, *, hash_present: bool | None = None) -> bytes:
    """Return the bytes of `response` that its supplier signs, before hashing.

    The payload is left out when there is a payload hash. `hash_present=True` says that field 4 was
    on the wire though empty, which counts as present and which a decoded message cannot show.
    """
    meta = b""
    if response.meta.HasField("session_header"):
        meta = _field(_SESSION_HEADER, response.meta.session_header.SerializeToString())
    signable = _field(_META, meta)
    if hash_present is None:
        hash_present = bool(response.payload_hash)
    if response.payload and not hash_present:
        signable += _field(_PAYLOAD, response.payload)
    return signable + _response_after_payload(response)


def signable_response(response: RelayResponse, *, hash_present: bool | None = None) -> bytes:
    """Return the 32 bytes handed to the supplier's Sign, which hashes once more (spec/signatures.md §8.3)."""
    return sha256(signable_response_bytes(response, hash_present=hash_present)).digest()


def payload_hash(payload: bytes) -> bytes:
    """Return sha256(payload), 32 bytes. Raises `InvalidRelayResponse` for an empty payload."""
    if not payload:
        raise InvalidRelayResponse("attempted to update payload hash with an empty payload")
    return sha256(payload).digest()


def mined_relay(request: RelayRequest, response: RelayResponse) -> bytes:
    """Return the bytes of Relay{request, response without its payload}: the leaf value of the session tree."""
    mined_response = _field(_META, response.meta.SerializeToString()) + _response_after_payload(response)
    return _field(_REQ, encode_request(request)) + _field(_RES, mined_response)


def relay_hash(relay_bytes: bytes) -> RelayHash:
    """Return sha256 of the mined relay's bytes: the key of its leaf, and what `difficulty` is measured on."""
    return RelayHash(sha256(relay_bytes).digest())
