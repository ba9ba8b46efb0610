"""Whether a claim must be proved (spec/chain.md §5.4), and the parameters that say so.

The chain reads the proof parameters live, both when a proof arrives and at settlement. The draw hashes the
claim *as stored*: a supplier computes it for its claim with status 0, which is what the chain has when the
proof arrives.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

from pocket_protocol.coin import coin_of, upokt_of
from pocket_protocol.go_random import seeded_float64
from pocket_protocol.pb.pocket import proof_pb2
from pocket_protocol.types import Upokt
from pocket_protocol.wire import encode


class ProofRequirement(enum.IntEnum):
    """Why a claim must be proved; the numbers are `pocket.proof.ProofRequirementReason`."""

    NOT_REQUIRED = 0
    PROBABILISTIC = 1
    THRESHOLD = 2


@dataclass(frozen=True, slots=True)
class ProofParams:
    """`pocket.proof.Params` as a value."""

    request_probability: float
    requirement_threshold_upokt: Upokt
    missing_penalty_upokt: Upokt
    submission_fee_upokt: Upokt

    @classmethod
    def from_proto(cls, message: proof_pb2.Params) -> ProofParams:
        """Return the value of `message`. Raises `UnusableCoin`."""
        return cls(
            request_probability=message.proof_request_probability,
            requirement_threshold_upokt=upokt_of(message.proof_requirement_threshold),
            missing_penalty_upokt=upokt_of(message.proof_missing_penalty),
            submission_fee_upokt=upokt_of(message.proof_submission_fee),
        )

    def to_proto(self) -> proof_pb2.Params:
        return proof_pb2.Params(
            proof_request_probability=self.request_probability,
            proof_requirement_threshold=coin_of(self.requirement_threshold_upokt),
            proof_missing_penalty=coin_of(self.missing_penalty_upokt),
            proof_submission_fee=coin_of(self.submission_fee_upokt),
        )


def draw_input(claim: proof_pb2.Claim, seed_block_hash: bytes) -> bytes:
    """Return the bytes the draw is seeded with; the seed block is `Windows.proof_seed`."""
    return hashlib.sha256(encode(claim)).digest() + seed_block_hash


def draw(claim: proof_pb2.Claim, seed_block_hash: bytes) -> float:
    """Return the claim's number in [0, 1); a proof is required when it is not above the probability."""
    return seeded_float64(draw_input(claim, seed_block_hash))


def proof_requirement(
    params: ProofParams, claim: proof_pb2.Claim, claimed_upokt: int, seed_block_hash: bytes
) -> ProofRequirement:
    """Return whether and why the stored `claim`, worth `claimed_upokt`, must be proved."""
    if claimed_upokt >= params.requirement_threshold_upokt:
        return ProofRequirement.THRESHOLD
    if draw(claim, seed_block_hash) <= params.request_probability:
        return ProofRequirement.PROBABILISTIC
    return ProofRequirement.NOT_REQUIRED
