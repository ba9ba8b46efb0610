"""From a sealed session to its claim: what it is worth, whether it is sent, its message (spec/chain.md §5.1, §5.2)."""

from __future__ import annotations

from dataclasses import dataclass

from mining_tasks.seal import SealedSession
from mining_tasks.wiring import Miner
from pocket_protocol.gas import CLAIM_GAS, PROOF_GAS, GasCost, adjusted_gas, fee_upokt
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.proof_messages import create_claim, validate_create_claim
from pocket_protocol.proof_requirement import ProofParams
from pocket_protocol.types import SupplierAddress, Upokt
from relay_store.session_state import SessionSnapshot

EMPTY_TREE = "empty_tree"
CUPR_MISMATCH = "cupr_mismatch"
UNPROFITABLE = "unprofitable"


@dataclass(frozen=True, slots=True)
class Worth:
    """What a session's claim is worth and what is expected to be paid for it, in uPOKT."""

    claimed_upokt: Upokt
    cost_upokt: int


def header_of(snapshot: SessionSnapshot) -> SessionHeader:
    """Return the session's header. At the seal it was written as the chain gives it."""
    return SessionHeader(
        application_address=snapshot.application,
        service_id=snapshot.service_id,
        session_id=snapshot.session_id,
        session_start_block_height=snapshot.start_height,
        session_end_block_height=snapshot.end_height,
    )


def expected_cost_upokt(
    claimed_upokt: int, params: ProofParams, *, price_attoupokt: int, claim_gas: int, proof_gas: int
) -> int:
    """Return the fees one session is expected to cost, in whole uPOKT, rounded up.

    The claim's gas, and as likely as a proof is required its gas and the submission fee. `claim_gas` and
    `proof_gas` are what one message adds to a batch.
    """
    certain = claimed_upokt >= params.requirement_threshold_upokt
    chance = 1.0 if certain else min(max(params.request_probability, 0.0), 1.0)
    proof = -(-proof_gas * price_attoupokt // 10**18) + params.submission_fee_upokt
    return -(-claim_gas * price_attoupokt // 10**18) + int(-(-proof * chance // 1))


def worth_of(miner: Miner, sealed: SealedSession) -> Worth:
    """Return what a sealed session is worth. Raises `Unavailable`, `NoPrice`, `UnusableTarget`."""
    snapshot, transaction = sealed.record.snapshot, miner.config.transaction

    def gas(cost: GasCost) -> int:
        return adjusted_gas(cost.per_message, transaction.gas_adjustment)

    claimed = miner.facts.claimed_upokt(sealed.root, snapshot.service_id, snapshot.start_height)
    cost = expected_cost_upokt(
        claimed,
        miner.facts.proof_params(),
        price_attoupokt=transaction.gas_price.attoupokt,
        claim_gas=gas(CLAIM_GAS),
        proof_gas=gas(PROOF_GAS),
    )
    return Worth(claimed, cost)


def reason_to_skip(sealed: SealedSession, worth: Worth, *, claim_unprofitable: bool) -> str:
    """Return why the session is not claimed, "" when it is."""
    root, cupr = sealed.root, sealed.record.snapshot.cupr
    if sealed.is_empty:
        return EMPTY_TREE
    if root.sum != root.count * cupr:
        return CUPR_MISMATCH  # the chain would refuse it (proof/1126)
    if worth.claimed_upokt <= worth.cost_upokt and not claim_unprofitable:
        return UNPROFITABLE
    return ""


def claim_message(supplier: SupplierAddress, snapshot: SessionSnapshot, root: bytes) -> MsgCreateClaim:
    """Return the claim's message, checked as the chain checks it first. Raises a `RegisteredError`."""
    message = create_claim(supplier, header_of(snapshot), root)
    validate_create_claim(message)
    return message


def smallest_fee_upokt(miner: Miner) -> Upokt:
    """Return the fee of a transaction with one claim: an account below it can claim nothing."""
    transaction = miner.config.transaction
    return fee_upokt(adjusted_gas(CLAIM_GAS.of(1), transaction.gas_adjustment), transaction.gas_price)
