"""What becomes of the proofs of a block, at its end (spec/chain.md §6.3)."""

from __future__ import annotations

from localnet import registered_errors as errors
from localnet.context import Context
from localnet.events import typed
from localnet.proofs import read_proof
from localnet.state import ACCOUNT, APPLICATION, CLAIM, PROOF
from pocket_protocol import ring
from pocket_protocol.closest_proof import BadClosestProof, proof_path, verify_strict
from pocket_protocol.errors import PocketError, Refused
from pocket_protocol.pb.pocket import proof_pb2, service_pb2, session_pb2
from pocket_protocol.relay import signable_request, signable_response
from pocket_protocol.ring_members import expected_addresses, expected_keys
from pocket_protocol.session import session_end
from pocket_protocol.signer import verify
from pocket_protocol.types import Address, BlockHash, Height, SessionId
from pocket_protocol.windows import Windows


class ProofInvalid(Refused):
    """Why a proof was judged invalid; the text goes into the event."""

    reason = "proof_invalid"
    summary = "invalid proof"


def account_key(context: Context, address: str) -> bytes | None:
    """Return the public key the chain knows of an account."""
    account = context.state.get(ACCOUNT, address)
    return account.public_key or None if account else None


def ring_keys(context: Context, application_address: str, end_height: int) -> list[bytes]:
    """Return the keys that may sign for an application (spec/chain.md §4.2). Raises `Refused`."""
    application = context.state.get(APPLICATION, application_address)
    if application is None:
        raise ProofInvalid(f"application {application_address} not found")
    end = Height(session_end(context.shared, end_height))
    addresses = expected_addresses(application, end)

    def known_key(address: Address) -> bytes | None:
        return account_key(context, address)

    return list(expected_keys(addresses, known_key))


def _check_ring(context: Context, request: service_pb2.RelayRequest) -> None:
    header = request.meta.session_header
    keys = ring_keys(context, header.application_address, header.session_end_block_height)
    try:
        ring.verify_ring(context.chain.curve, signable_request(request), request.meta.signature, keys)
    except PocketError as error:
        raise ProofInvalid(f"{error.detail or error.summary}: invalid relay request signature") from error


def _expected_path(context: Context, header: session_pb2.SessionHeader) -> bytes:
    injected = context.chain.fixture.proof_paths.get(header.session_id)
    if injected:
        return injected
    end = header.session_end_block_height
    seed = context.chain.block_hash(Windows.of(context.shared_at(end), end).proof_seed)
    return proof_path(BlockHash(seed), SessionId(header.session_id))


def _judge(context: Context, proof: proof_pb2.Proof, claim: proof_pb2.Claim) -> None:
    """Raise `ProofInvalid` unless the proof proves the claim."""
    supplier = proof.supplier_operator_address
    supplier_key = account_key(context, supplier)
    if supplier_key is None:
        raise ProofInvalid(errors.PROOF_PUBLIC_KEY_NOT_FOUND.wrap(f"supplier {supplier}"))
    try:
        closest, _, relay = read_proof(proof.closest_merkle_proof)
    except ValueError as error:
        raise ProofInvalid(str(error)) from error
    _check_ring(context, relay.req)
    if not verify(
        context.chain.curve,
        supplier_key,
        signable_response(relay.res),
        relay.res.meta.supplier_operator_signature,
    ):
        text = "invalid relay response signature"
        raise ProofInvalid(errors.PROOF_INVALID_RELAY_RESPONSE.wrap(text))
    expected = _expected_path(context, proof.session_header)
    if closest.path != expected:
        text = (
            f"the path of the proof provided ({closest.path.hex()}) does not match "
            f"one expected by the onchain protocol ({expected.hex()})"
        )
        raise ProofInvalid(errors.PROOF_INVALID_PROOF.wrap(text))
    try:
        proved = verify_strict(closest, claim.root_hash)
    except BadClosestProof as error:
        raise ProofInvalid(errors.PROOF_INVALID_PROOF.wrap(f"closest merkle proof: {error}")) from error
    if not proved:
        raise ProofInvalid(
            errors.PROOF_INVALID_PROOF.wrap("closest merkle proof does not lead to the claimed root")
        )


def judge_proofs(context: Context) -> None:
    """Set the status of each claim that got a proof in this block, and forget the proofs."""
    for key, proof in list(context.state.items(PROOF)):
        context.state.delete(PROOF, key)
        stored = context.state.get(CLAIM, key)
        if stored is None:
            continue
        claim = proof_pb2.Claim()
        claim.CopyFrom(stored)
        reason = ""
        try:
            _judge(context, proof, claim)
            claim.proof_validation_status = proof_pb2.VALIDATED
        except PocketError as error:
            reason = error.detail or error.summary
            claim.proof_validation_status = proof_pb2.INVALID
        context.state.put(CLAIM, key, claim)
        header = claim.session_header
        context.emit(
            typed(
                proof_pb2.EventProofValidityChecked(
                    block_height=context.height,
                    failure_reason=reason,
                    service_id=header.service_id,
                    application_address=header.application_address,
                    session_end_block_height=header.session_end_block_height,
                    claim_proof_status_int=claim.proof_validation_status,
                    supplier_operator_address=claim.supplier_operator_address,
                )
            )
        )
