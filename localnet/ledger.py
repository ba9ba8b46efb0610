"""What the chain paid and took, kept from its events: the other side of every supplier's own books."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any

from localnet.bank import balance
from localnet.blocks import Block
from localnet.chain import LocalChain
from localnet.events import Event
from localnet.state import BALANCE, CLAIM, SUPPLY

_OUTCOMES = {
    "pocket.proof.EventClaimCreated": "claims_created",
    "pocket.proof.EventClaimUpdated": "claims_updated",
    "pocket.proof.EventProofSubmitted": "proofs_submitted",
    "pocket.proof.EventProofUpdated": "proofs_updated",
    "pocket.proof.EventProofValidityChecked": "proofs_judged",
    "pocket.tokenomics.EventClaimSettled": "settled",
    "pocket.tokenomics.EventClaimExpired": "expired",
    "pocket.tokenomics.EventClaimDiscarded": "discarded",
    "pocket.tokenomics.EventSupplierSlashed": "slashed",
    "pocket.tokenomics.EventApplicationOverserviced": "overserviced",
}


def upokt(text: str) -> int:
    """Return the amount in a printed coin."""
    return int(text.removesuffix("upokt") or 0)


def attributes_of(event: Event) -> dict[str, Any]:
    """Return a typed event's attributes as values."""
    values: dict[str, Any] = {}
    for key, text in event.attributes:
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values


class Ledger:
    """Listens to a chain from the moment it is made."""

    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        self._entries: dict[str, list[dict[str, Any]]] = {name: [] for name in _OUTCOMES.values()}
        chain.on_block.append(self._on_block)

    def _on_block(self, block: Block) -> None:
        events: Iterable[Event] = [
            *(event for result in block.results for event in result.events),
            *block.events,
        ]
        with self._lock:
            for event in events:
                name = _OUTCOMES.get(event.type)
                if name is not None:
                    self._entries[name].append({"height": block.height, **attributes_of(event)})

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Return the entries of one outcome, e.g. "settled", oldest first."""
        with self._lock:
            return list(self._entries[name])

    def to_json(self) -> dict[str, Any]:
        """Return everything: outcomes, sums in uPOKT and relays, open claims, balances."""
        context = self._chain.at()
        with self._lock:
            outcomes = {name: list(entries) for name, entries in self._entries.items()}
        settled, expired = outcomes["settled"], outcomes["expired"]
        return {
            "height": context.height,
            "totals": {
                "claims_created": len(outcomes["claims_created"]),
                "settled": len(settled),
                "settled_relays": sum(int(entry["num_relays"]) for entry in settled),
                "settled_upokt": sum(upokt(entry["settled_upokt"]) for entry in settled),
                "overservicing_loss_upokt": sum(upokt(e["overservicing_loss_upokt"]) for e in settled),
                "expired": len(expired),
                "expired_upokt": sum(upokt(entry["claimed_upokt"]) for entry in expired),
                "slashed": len(outcomes["slashed"]),
                "discarded": len(outcomes["discarded"]),
            },
            "open_claims": [
                {
                    "session_id": claim.session_header.session_id,
                    "supplier": claim.supplier_operator_address,
                    "service_id": claim.session_header.service_id,
                    "session_end_block_height": claim.session_header.session_end_block_height,
                    "root_hash": claim.root_hash.hex(),
                    "status": claim.proof_validation_status,
                }
                for _, claim in context.state.items(CLAIM)
            ],
            "balances_upokt": {a: balance(context.state, a) for a, _ in context.state.items(BALANCE)},
            "supply_upokt": context.state.get(SUPPLY, "", 0),
            "outcomes": outcomes,
        }
