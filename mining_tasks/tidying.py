"""What has run out is taken off the lists (decisions.md A)."""

from __future__ import annotations

from mining_tasks.wiring import Miner
from pocket_protocol.types import SupplierAddress
from relay_store.sessions import Sessions


def tidy(supplier: SupplierAddress, miner: Miner) -> list[str]:
    """Take sessions off the supplier's list whose record has run out; return them. Raises `StoreUnavailable`."""
    return Sessions(miner.store, miner.keys, supplier).prune(ended_by=miner.facts.height())
