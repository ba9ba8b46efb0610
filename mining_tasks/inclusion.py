"""What the chain has of a supplier's claims and proofs (decisions.md C4, C6; spec/chain.md §7).

Inclusion is seen in the state, never in a transaction's answer: a claim is there when it is listed with our root, a
proof when the claim is marked as validated (proofs themselves are gone at the end of their block).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from mining_tasks.lifecycle import OnChain, Sight
from pocket_chain.node_errors import NodeUnavailable
from pocket_chain.queries import ChainQueries
from pocket_protocol.pb.pocket.proof_pb2 import Claim, ClaimProofStatus
from pocket_protocol.types import SupplierAddress
from relay_store.session_state import SessionRecord

ROOT_FIELD: Final = "claimed_root_hash"
_VALIDATED: Final = ClaimProofStatus.Value("VALIDATED")
_INVALID: Final = ClaimProofStatus.Value("INVALID")

log = structlog.get_logger("inclusion")


class ClaimsSeen:
    """The claims of one supplier, as one answer had them. An answer without its height is worth nothing."""

    def __init__(self, claims: Mapping[str, Claim], height: int) -> None:
        self._claims = claims
        self.height = height

    def sight(self, record: SessionRecord) -> Sight:
        """Return what the answer says of a session."""
        if not self.height:
            return Sight()
        claim = self._claims.get(record.snapshot.session_id)
        if claim is None:
            return Sight(OnChain.ABSENT, False, self.height)
        ours = record.more.get(ROOT_FIELD) == claim.root_hash.hex().encode()
        if ours and claim.proof_validation_status == _INVALID:
            log.error(
                "the chain found our proof invalid",
                supplier=claim.supplier_operator_address,
                session=record.snapshot.session_id,
            )
        return Sight(
            OnChain.OURS if ours else OnChain.OTHER,
            claim.proof_validation_status == _VALIDATED,
            self.height,
        )

    def claim(self, session: str) -> Claim | None:
        """Return the claim of a session."""
        return self._claims.get(session)


NO_CLAIMS_SEEN: Final = ClaimsSeen({}, 0)


def look(chain: ChainQueries, supplier: SupplierAddress) -> ClaimsSeen:
    """Ask for all claims of a supplier; an unreachable node means that nothing is known."""
    try:
        seen = chain.observe_claims(supplier)
    except NodeUnavailable as error:
        log.info("claims cannot be seen now", supplier=supplier, error=str(error)[:300])
        return NO_CLAIMS_SEEN
    return ClaimsSeen({claim.session_header.session_id: claim for claim in seen.value}, seen.height)
