"""Whether a claim must be proved, and its proof (spec/chain.md §5.4, §6.1, §6.2; spec/smst.md §5, §11)."""

from __future__ import annotations

from dataclasses import dataclass

from mining_tasks.claims import header_of
from mining_tasks.seal import SealedSession
from mining_tasks.wiring import Miner
from pocket_protocol.closest_proof import proof_path, verify_strict
from pocket_protocol.errors import PocketError
from pocket_protocol.pb.pocket.proof_pb2 import Claim, MsgSubmitProof
from pocket_protocol.proof_messages import submit_proof, validate_submit_proof
from pocket_protocol.proof_requirement import ProofRequirement, proof_requirement
from pocket_protocol.proving import prove_closest
from pocket_protocol.smst import Root
from pocket_protocol.types import BlockHash, SessionId, SupplierAddress
from pocket_protocol.windows import Windows
from relay_store.leaves import Leaves
from relay_store.session_state import SessionSnapshot


class ProofDoesNotVerify(PocketError):
    """A proof of ours that does not verify against the claimed root: it is not sent."""

    reason = "proof_does_not_verify"
    summary = "our own proof does not verify"


@dataclass(frozen=True, slots=True)
class Draw:
    """What the chain will answer when it is asked whether a claim must be proved."""

    requirement: ProofRequirement

    @property
    def is_required(self) -> bool:
        return self.requirement is not ProofRequirement.NOT_REQUIRED


def seed_of(miner: Miner, windows: Windows) -> BlockHash:
    """Return the hash of the block before the proof window. Raises `NodeUnavailable`."""
    return miner.node.block(windows.proof_seed).block_hash


def draw(miner: Miner, snapshot: SessionSnapshot, root: bytes, seed: BlockHash) -> Draw:
    """Draw exactly as the chain does: the claim with status 0 and the claimed root, live parameters.

    Raises `Unavailable`, `NoPrice`, `UnusableTarget`.
    """
    claim = Claim(
        supplier_operator_address=snapshot.supplier, session_header=header_of(snapshot), root_hash=root
    )
    claimed = miner.facts.claimed_upokt(Root.from_bytes(root), snapshot.service_id, snapshot.start_height)
    return Draw(proof_requirement(miner.facts.proof_params(), claim, claimed, seed))


def proof_message(
    miner: Miner, supplier: SupplierAddress, sealed: SealedSession, seed: BlockHash
) -> MsgSubmitProof:
    """Return the proof's message, verified as strictly as the chain will. Raises `ProofDoesNotVerify`, `LeafMissing`.

    No tree is held: the proof comes from the sorted index, with one or two leaves fetched.
    """
    snapshot = sealed.record.snapshot
    leaves = Leaves(miner.store, miner.keys, supplier, snapshot.session_id)
    path = proof_path(seed, SessionId(snapshot.session_id))
    proof = prove_closest(sealed.records, path, leaves.fetch)
    if not verify_strict(proof, sealed.root.to_bytes()):
        raise ProofDoesNotVerify(session=snapshot.session_id)
    message = submit_proof(supplier, header_of(snapshot), proof.to_bytes())
    validate_submit_proof(message)
    return message
