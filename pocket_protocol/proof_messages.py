"""The two messages a supplier sends, and the network's basic checks of them (spec/chain.md §5.1, §6.2)."""

from __future__ import annotations

from pocket_protocol.address import parse_address
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim, MsgSubmitProof
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.session_header import RegisteredError, validate_session_header
from pocket_protocol.types import SupplierAddress

ROOT_BYTES = 48  # 32 bytes digest, 8 bytes sum, 8 bytes count; both big-endian


class InvalidClaimSupplier(RegisteredError):
    reason = "invalid_supplier_address"
    summary = "invalid address"
    codespace, code = "proof", 1101


class InvalidProofSupplier(RegisteredError):
    reason = "invalid_supplier_address"
    summary = "invalid address"
    codespace, code = "sdk", 7


class InvalidMessageHeader(RegisteredError):
    reason = "invalid_session_header"
    summary = "invalid session header"
    codespace, code = "proof", 1115


class InvalidRootHash(RegisteredError):
    reason = "invalid_root_hash"
    summary = "invalid root hash"
    codespace, code = "proof", 1104


class InvalidProof(RegisteredError):
    reason = "invalid_proof"
    summary = "invalid proof"
    codespace, code = "proof", 1108


def create_claim(supplier: SupplierAddress, header: SessionHeader, root: bytes) -> MsgCreateClaim:
    """Return the message that claims `root` (48 bytes) for a session."""
    return MsgCreateClaim(supplier_operator_address=supplier, session_header=header, root_hash=root)


def submit_proof(supplier: SupplierAddress, header: SessionHeader, proof: bytes) -> MsgSubmitProof:
    """Return the message that proves a claim; `proof` is the gob encoding of the compact closest proof."""
    return MsgSubmitProof(supplier_operator_address=supplier, session_header=header, proof=proof)


def validate_create_claim(message: MsgCreateClaim) -> None:
    """The network's MsgCreateClaim.ValidateBasic. Raises a `RegisteredError` with its text."""
    supplier = message.supplier_operator_address
    try:
        parse_address(supplier)
    except Malformed as error:
        raise InvalidClaimSupplier(supplier) from error
    if not message.HasField("session_header"):
        raise InvalidMessageHeader("session header is nil")
    try:
        validate_session_header(message.session_header)
    except Malformed as error:
        raise InvalidMessageHeader(f"invalid session header: {error}") from error
    root = message.root_hash
    if len(root) != ROOT_BYTES:
        raise InvalidRootHash(f"expecting root hash to be {ROOT_BYTES} bytes, got {len(root)} bytes")
    if not any(root[40:48]):
        raise InvalidRootHash(f"has zero count in Merkle root (hex) {root.hex()}")
    if not any(root[32:40]):
        raise InvalidRootHash(f"has zero sum in Merkle root (hex) {root.hex()}")


def validate_submit_proof(message: MsgSubmitProof) -> None:
    """The network's MsgSubmitProof.ValidateBasic. Raises a `RegisteredError` with its text."""
    supplier = message.supplier_operator_address
    try:
        parse_address(supplier)
    except Malformed as error:
        raise InvalidProofSupplier(f'supplier operator address "{supplier}", error: {error}') from error
    if not message.HasField("session_header"):
        raise InvalidMessageHeader("session header is nil")
    try:
        validate_session_header(message.session_header)
    except Malformed as error:
        raise InvalidMessageHeader(str(error)) from error
    if not message.proof:
        raise InvalidProof("proof cannot be empty")
