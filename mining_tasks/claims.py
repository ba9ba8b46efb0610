"""From a sealed session to its claim: what it is worth, whether it is sent, its message (spec/chain.md §5.1, §5.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from mining_tasks.phase import CLAIM, PROOF, Phase
from mining_tasks.seal import SealedSession
from mining_tasks.wiring import Miner
from pocket_protocol.gas import adjusted_gas
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.proof_messages import create_claim, validate_create_claim
from pocket_protocol.proof_requirement import ProofParams
from pocket_protocol.types import SupplierAddress, Upokt
from relay_store.paid_fees import PaidFees
from relay_store.session_state import SessionSnapshot

EMPTY_TREE = "empty_tree"
CUPR_MISMATCH = "cupr_mismatch"
UNPROFITABLE = "unprofitable"
OBSERVED, CONFIGURED = "observed", "configured"
_ATTO = 10**18


@dataclass(frozen=True, slots=True)
class Worth:
    """What a session's claim is worth and what is expected to be paid for it, in uPOKT."""

    claimed_upokt: Upokt
    cost_upokt: int
    fees: str = (
        CONFIGURED  # whether the claim's fee is one that was paid, or follows from the configured gas price
    )

    @property
    def margin_upokt(self) -> int:
        return self.claimed_upokt - self.cost_upokt


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
    claimed_upokt: int, params: ProofParams, claim_fee_upokt: Fraction, proof_fee_upokt: Fraction
) -> int:
    """Return the fees one session is expected to cost, in whole uPOKT, rounded up.

    The claim's share of its transaction's fee, and as likely as a proof is required the proof's share and the
    submission fee.
    """
    certain = claimed_upokt >= params.requirement_threshold_upokt
    chance = Fraction(1 if certain else min(max(params.request_probability, 0.0), 1.0))
    return math.ceil(claim_fee_upokt + chance * (proof_fee_upokt + params.submission_fee_upokt))


def worth_of(miner: Miner, sealed: SealedSession) -> Worth:
    """Return what a sealed session is worth. Raises `Unavailable`, `NoPrice`, `UnusableTarget`."""
    snapshot = sealed.record.snapshot
    claimed = miner.facts.claimed_upokt(sealed.root, snapshot.service_id, snapshot.start_height)
    paid = PaidFees(miner.store, miner.keys, snapshot.supplier).shares_upokt()
    cost = expected_cost_upokt(
        claimed,
        miner.facts.proof_params(),
        *(
            paid[phase.name] if phase.name in paid else _configured_fee_upokt(miner, phase)
            for phase in (CLAIM, PROOF)
        ),
    )
    return Worth(claimed, cost, OBSERVED if CLAIM.name in paid else CONFIGURED)


def _configured_fee_upokt(miner: Miner, phase: Phase) -> Fraction:
    """Return what one message adds to the fee of a batch, by its measured gas and the configured price."""
    transaction = miner.config.transaction
    gas = adjusted_gas(phase.gas.per_message, transaction.gas_adjustment)
    return Fraction(gas * transaction.gas_price.attoupokt, _ATTO)


def reason_to_skip(sealed: SealedSession, worth: Worth | None, *, claim_unprofitable: bool) -> str:
    """Return why the session is not claimed, "" when it is; a worth that is not known is no reason."""
    root, cupr = sealed.root, sealed.record.snapshot.cupr
    if sealed.is_empty:
        return EMPTY_TREE
    if root.sum != root.count * cupr:
        return CUPR_MISMATCH  # the chain would refuse it (proof/1126)
    if worth is not None and worth.claimed_upokt <= worth.cost_upokt and not claim_unprofitable:
        return UNPROFITABLE
    return ""


def claim_message(supplier: SupplierAddress, snapshot: SessionSnapshot, root: bytes) -> MsgCreateClaim:
    """Return the claim's message, checked as the chain checks it first. Raises a `RegisteredError`."""
    message = create_claim(supplier, header_of(snapshot), root)
    validate_create_claim(message)
    return message
