"""MsgSubmitProof (spec/chain.md §6.2). What a proof proves is judged at the end of the block: proof_judgement."""

from __future__ import annotations

from localnet import bank
from localnet import registered_errors as errors
from localnet.claims import event_fields, requirement, session_of, worth
from localnet.context import Context
from localnet.events import typed
from localnet.services import difficulty_at
from localnet.state import CLAIM, PROOF
from pocket_protocol.address import module_address
from pocket_protocol.closest_proof import ClosestProof
from pocket_protocol.coin import upokt_of
from pocket_protocol.difficulty import TARGET_BYTES, is_applicable
from pocket_protocol.errors import Malformed, PocketError
from pocket_protocol.pb.pocket import proof_pb2, service_pb2, session_pb2
from pocket_protocol.proof_requirement import ProofRequirement
from pocket_protocol.relay import relay_hash, validate_request, validate_response
from pocket_protocol.smst import split_leaf_value
from pocket_protocol.windows import Windows
from pocket_protocol.wire import decode_strict

_COMPARED = (
    ("application_address", "application addresses"),
    ("service_id", "service IDs"),
    ("session_start_block_height", "session start heights"),
    ("session_end_block_height", "session end heights"),
    ("session_id", "session IDs"),
)


def _check_window(context: Context, end: int) -> None:
    windows = Windows.of(context.shared_at(end), end)
    if context.height < windows.proof_open:
        detail = (
            f"current block height ({context.height}) is less than session's "
            f"earliest proof commit height ({windows.proof_open})"
        )
    elif context.height > windows.proof_close:
        detail = (
            f"current block height ({context.height}) is greater than session "
            f"proof window close height ({windows.proof_close})"
        )
    else:
        return
    raise errors.failed_precondition(errors.PROOF_PROOF_OUTSIDE_WINDOW.wrap(detail))


def read_proof(proof_bytes: bytes) -> tuple[ClosestProof, bytes, service_pb2.Relay]:
    """Return the closest proof, the bytes of the relay it carries and that relay.

    Raises ValueError with the chain's kind of text.
    """
    try:
        proof = ClosestProof.from_bytes(proof_bytes)
    except PocketError as error:
        raise ValueError(
            errors.PROOF_INVALID_PROOF.wrap(f"failed to unmarshal closest proof: {error}")
        ) from error
    try:
        relay_bytes, _ = split_leaf_value(proof.closest_value)
        return proof, relay_bytes, decode_strict(service_pb2.Relay, relay_bytes)
    except PocketError as error:
        raise ValueError(errors.PROOF_INVALID_RELAY.wrap(f"failed to unmarshal relay: {error}")) from error


def _check_relay(relay: service_pb2.Relay, header: session_pb2.SessionHeader, supplier: str) -> None:
    try:
        validate_request(relay.req)
    except Malformed as error:
        raise errors.failed_precondition(str(error)) from error
    if relay.req.meta.supplier_operator_address != supplier:
        raise errors.failed_precondition(errors.PROOF_SUPPLIER_MISMATCH.wrap("supplier type mismatch"))
    try:
        validate_response(relay.res)
    except Malformed as error:
        raise errors.failed_precondition(str(error)) from error
    for side in (relay.req, relay.res):
        for field, label in _COMPARED:
            want, got = getattr(header, field), getattr(side.meta.session_header, field)
            if want != got:
                detail = f"session headers {label} mismatch; expect: {want}, got: {got}"
                raise errors.failed_precondition(errors.PROOF_INVALID_RELAY.wrap(detail))


def _check_difficulty(context: Context, header: session_pb2.SessionHeader, relay_bytes: bytes) -> None:
    target = difficulty_at(context, header.service_id, header.session_start_block_height).target_hash
    hashed = relay_hash(relay_bytes)
    if len(target) != TARGET_BYTES or not is_applicable(hashed, target):
        detail = f"relay hash {hashed.hex()} is not below the target {target.hex()}: invalid relay"
        raise errors.failed_precondition(errors.PROOF_INVALID_DIFFICULTY.wrap(detail))


def _claim_for(context: Context, header: session_pb2.SessionHeader, supplier: str) -> proof_pb2.Claim:
    claim = context.state.get(CLAIM, (header.session_id, supplier))
    if claim is None:
        detail = f"no claim found for session ID {header.session_id} and supplier {supplier}"
        raise errors.failed_precondition(errors.PROOF_CLAIM_NOT_FOUND.wrap(detail))
    claimed = claim.session_header
    for field, error in (
        ("session_start_block_height", errors.PROOF_INVALID_SESSION_START),
        ("session_end_block_height", errors.PROOF_INVALID_SESSION_END),
        ("application_address", errors.PROOF_INVALID_ADDRESS),
        ("service_id", errors.Registered("proof", 1103, "invalid service in supplier")),
    ):
        want, got = getattr(claimed, field), getattr(header, field)
        if want != got:
            raise errors.failed_precondition(
                error.wrap(f"claim {field} {want} does not match proof {field} {got}")
            )
    return claim  # type: ignore[no-any-return]


def _deduct_fee(context: Context, supplier: str) -> None:
    fee = upokt_of(context.params("proof").proof_submission_fee)
    have = bank.balance(context.state, supplier)
    if have <= fee:  # strictly more is needed, even for a fee of 0
        detail = f"supplier {supplier} has {bank.coin(have)}, needs more than {bank.coin(fee)}"
        raise errors.failed_precondition(errors.PROOF_NOT_ENOUGH_FUNDS.wrap(detail))
    bank.send(context.state, context.emit, supplier, module_address("proof"), fee)


def submit_proof(context: Context, message: proof_pb2.MsgSubmitProof) -> proof_pb2.MsgSubmitProofResponse:
    """Store a proof, which passed its basic checks, until the end of the block. Raises `StatusRefused` with the chain's status and text."""
    supplier = message.supplier_operator_address
    try:
        header = session_of(context, message.session_header, supplier)
        _check_window(context, header.session_end_block_height)
        _, relay_bytes, relay = read_proof(message.proof)
    except ValueError as error:
        raise errors.failed_precondition(str(error)) from error
    _check_relay(relay, header, supplier)
    _check_difficulty(context, header, relay_bytes)
    claim = _claim_for(context, header, supplier)
    _deduct_fee(context, supplier)
    value = worth(context, claim)
    if requirement(context, claim, value.upokt) is ProofRequirement.NOT_REQUIRED:
        raise errors.failed_precondition(errors.PROOF_NOT_REQUIRED.text)
    key = (header.session_id, supplier)
    known = context.state.get(PROOF, key) is not None
    proof = proof_pb2.Proof(
        supplier_operator_address=supplier, session_header=header, closest_merkle_proof=message.proof
    )
    context.state.put(PROOF, key, proof)
    event_type = proof_pb2.EventProofUpdated if known else proof_pb2.EventProofSubmitted
    # A proof counts as pending until the end of the block, also one that replaces an invalid one.
    fields = event_fields(claim, value) | {"claim_proof_status_int": proof_pb2.PENDING_VALIDATION}
    context.emit(typed(event_type(**fields)))
    return proof_pb2.MsgSubmitProofResponse()
