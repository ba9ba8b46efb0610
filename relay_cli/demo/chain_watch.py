"""What the chain did with claims, from the events of each block: the demo's own witness, apart from the miner's books."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pocket_chain.node import CometNode, Event
from pocket_protocol.errors import Unavailable

POLL_S = 0.25
CLAIM_CREATED = "pocket.proof.EventClaimCreated"
PROOF_JUDGED = "pocket.proof.EventProofValidityChecked"
CLAIM_SETTLED = "pocket.tokenomics.EventClaimSettled"
FAILURES = {
    "pocket.tokenomics.EventClaimExpired": "expired",
    "pocket.tokenomics.EventClaimDiscarded": "discarded",
    "pocket.tokenomics.EventSupplierSlashed": "slashed",
}
VALIDATED = 1

ClaimKey = tuple[str, str, int]  # supplier, service id, session end height


@dataclass(slots=True)
class ClaimOnChain:
    """One claim as the chain tells of it. Amounts in uPOKT."""

    key: ClaimKey
    num_relays: int = 0
    claimed_upokt: int = 0
    created_height: int = 0
    proof_valid: bool = False
    settled_height: int = 0
    settled_relays: int = 0
    settled_upokt: int = 0
    paid_to_supplier_upokt: int = 0
    proof_required: bool | None = None
    failures: list[str] = field(default_factory=list)


class ChainWatch:
    """Follows the chain's blocks in a thread of its own; a context manager. `height` is the last one read."""

    def __init__(self, node: CometNode) -> None:
        self._node = node
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="chain-watch", daemon=True)
        self._claims: dict[ClaimKey, ClaimOnChain] = {}
        self._lock = threading.Lock()
        self.height = 0

    def __enter__(self) -> ChainWatch:
        self.height = self._node.status().position.height
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def claims(self, session_ends: Iterable[int]) -> list[ClaimOnChain]:
        """Return the claims of sessions that end at one of these heights, in order of their keys."""
        wanted = set(session_ends)
        with self._lock:
            return [claim for key, claim in sorted(self._claims.items()) if key[2] in wanted]

    def _follow(self) -> None:
        while not self._closed.wait(POLL_S):
            try:
                newest = self._node.status().position.height
                while self.height < newest:
                    results = self._node.block_results(self.height + 1)
                    events = [event for one in results.transactions if one.code == 0 for event in one.events]
                    self.read((*events, *results.events), self.height + 1)
                    self.height += 1
            except Unavailable:
                continue

    def read(self, events: Iterable[Event], height: int) -> None:
        """Take in the events of one block."""
        with self._lock:
            for event in events:
                if event.type in (CLAIM_CREATED, PROOF_JUDGED, CLAIM_SETTLED, *FAILURES):
                    self._read_one(event, _values(event), height)

    def _read_one(self, event: Event, values: dict[str, Any], height: int) -> None:
        key = (
            str(values.get("supplier_operator_address", "")),
            str(values.get("service_id", "")),
            int(values.get("session_end_block_height", 0)),
        )
        claim = self._claims.setdefault(key, ClaimOnChain(key))
        if event.type == CLAIM_CREATED:
            claim.created_height = height
            claim.num_relays = int(values["num_relays"])
            claim.claimed_upokt = upokt(values["claimed_upokt"])
        elif event.type == PROOF_JUDGED:
            claim.proof_valid = int(values["claim_proof_status_int"]) == VALIDATED
            if not claim.proof_valid:
                claim.failures.append(f"proof invalid: {values.get('failure_reason')}")
        elif event.type == CLAIM_SETTLED:
            claim.settled_height = height
            claim.settled_relays = int(values["num_relays"])
            claim.settled_upokt = upokt(values["settled_upokt"])
            claim.proof_required = int(values["proof_requirement_int"]) != 0
            claim.paid_to_supplier_upokt = sum(
                upokt(reward["amount"])
                for reward in values.get("reward_distribution_detailed") or ()
                if "SUPPLIER_SHAREHOLDER_REWARD" in str(reward["op_reason"])
            )
        else:
            claim.failures.append(FAILURES[event.type])


def _values(event: Event) -> dict[str, Any]:
    """Return a typed event's attributes: each is the JSON of its field."""
    values: dict[str, Any] = {}
    for name, text in event.attributes:
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def upokt(coin: Any) -> int:
    """Return the amount of a coin as events print it: `123upokt`, or {denom, amount}."""
    text = str(coin.get("amount", "")) if isinstance(coin, dict) else str(coin)
    return int(text.removesuffix("upokt") or 0)
