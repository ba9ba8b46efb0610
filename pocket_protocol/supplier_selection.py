"""Which suppliers serve a session (spec/chain.md §3.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pocket_protocol.errors import Refused
from pocket_protocol.types import SupplierAddress


class NoSuppliers(Refused):
    """No supplier is active for the service at the height."""

    reason = "session_suppliers_not_found"
    summary = "no suppliers found for session"


@dataclass(frozen=True, slots=True)
class Candidacy:
    """A supplier's service configuration: from which block it counts and until which (0: no end)."""

    operator_address: SupplierAddress
    activation_height: int
    deactivation_height: int = 0

    def is_active(self, height: int) -> bool:
        """Return whether the configuration counts for a session asked for at `height`."""
        ended = self.deactivation_height != 0 and self.deactivation_height <= height
        return self.activation_height <= height and not ended


def candidates_at(candidacies: Iterable[Candidacy], height: int) -> list[Candidacy]:
    """Return the candidacies of one service active at `height`, in the order the chain's store has them."""
    active = (candidacy for candidacy in candidacies if candidacy.is_active(height))
    return sorted(active, key=lambda c: (c.activation_height, c.operator_address.encode()))


def supplier_weight(session_id_preimage: bytes, operator_address: str) -> int:
    """Return the signed 64-bit weight candidates are ordered by, lowest first."""
    digest = hashlib.sha3_256(session_id_preimage + b"." + operator_address.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def select_suppliers(
    session_id_preimage: bytes, candidates: Sequence[Candidacy], num_suppliers_per_session: int
) -> list[Candidacy]:
    """Return the session's suppliers in the chain's order.

    `candidates` come from `candidates_at`. Fewer than wanted: all, in store order; else the lightest ones.
    Raises `NoSuppliers`.
    """
    if not candidates:
        raise NoSuppliers()
    if len(candidates) < num_suppliers_per_session:
        return list(candidates)
    ordered = sorted(
        candidates,
        key=lambda c: (supplier_weight(session_id_preimage, c.operator_address), c.operator_address.encode()),
    )
    return ordered[:num_suppliers_per_session]
