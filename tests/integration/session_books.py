"""Three accounts of every session, which must agree: the gateway's, the sealed leaves and the chain's (decisions.md F)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pocket_protocol import smst
from relay_cli.demo.chain_watch import ClaimOnChain
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.leaves import Leaves
from relay_store.sessions import Sessions
from tests.integration.steady_load import CountedRelays, SessionKey


@dataclass
class Witness:
    """The sealed leaves of each session that was claimed, read before they are cleared away."""

    store: Store
    keys: Keys
    leaves: dict[SessionKey, set[bytes]] = field(default_factory=dict)

    def read_leaves(self, claims: Iterable[ClaimOnChain]) -> None:
        """Read those of claimed sessions that were not read before. Raises `StoreUnavailable`."""
        for claim in claims:
            if claim.created_height and claim.key not in self.leaves:
                self.leaves[claim.key] = self._paths(claim.key)

    def _paths(self, key: SessionKey) -> set[bytes]:
        supplier, service, end = key
        sessions = Sessions(self.store, self.keys, supplier)
        listed = [session for session, its_end in sessions.listed() if its_end == end]
        (session,) = [
            r.snapshot.session_id
            for r in sessions.read_many(listed)
            if r and r.snapshot.service_id == service
        ]
        leaves = Leaves(self.store, self.keys, supplier, session)
        seal, _ = leaves.read_sealed()
        assert seal is not None, key
        index = leaves.read_index(seal.length)
        paths = [index[at : at + 32] for at in range(0, len(index), smst.RECORD_SIZE)]
        assert len(set(paths)) == len(paths) == seal.count, key
        return set(paths)


def problems_of(
    key: SessionKey,
    counted: CountedRelays,
    claim: ClaimOnChain | None,
    leaves: set[bytes],
    may_be_missing: Callable[[float], bool] = lambda answered_at: False,
) -> list[str]:
    """What does not fit in one session.

    `may_be_missing` tells by the moment of its answer whether a relay need not be a leaf (decisions.md F).
    """
    answered = counted.answered[key]
    if claim is None or not claim.created_height:
        surely = sum(not may_be_missing(at) for at in answered.values())
        return [f"{len(answered)} relays answered and no claim"] if surely else []
    found = []
    lost = [path for path, at in answered.items() if path not in leaves and not may_be_missing(at)]
    more = len(leaves - answered.keys())
    if lost:
        found.append(f"{len(lost)} of {len(answered)} answered relays are no leaves")
    unanswered = counted.unknown[key] + counted.unavailable[key]
    if more > unanswered:
        found.append(f"{more} leaves nobody asked for, {unanswered} answers were lost")
    if claim.num_relays != len(leaves):
        found.append(f"{len(leaves)} leaves, the claim counts {claim.num_relays}")
    if claim.proof_required and not claim.proof_valid:
        found.append("no valid proof")
    if claim.settled_upokt != claim.claimed_upokt:
        found.append(f"claimed {claim.claimed_upokt}, settled {claim.settled_upokt} uPOKT")
    return found + claim.failures
