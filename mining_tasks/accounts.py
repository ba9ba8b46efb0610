"""Suppliers' accounts on the chain: the number that is part of what is signed (spec/chain.md §7)."""

from __future__ import annotations

from pocket_chain.queries import ChainQueries
from relay_store.entity_cache import EntityCache, Lifetimes

KEPT_S = 1800.0


class Accounts:
    """Account numbers, kept half an hour; forgotten as soon as a node says a signature does not fit."""

    def __init__(self, chain: ChainQueries) -> None:
        self._numbers: EntityCache[str, int] = EntityCache(
            "account_number",
            lambda address: int(chain.account(address).account_number),
            Lifetimes(fresh_s=KEPT_S, stale_s=KEPT_S),
        )

    def number(self, address: str) -> int:
        """Return the account number. Raises `EntityNotFound`, `NodeUnavailable`."""
        return self._numbers.get(address)

    def forget(self, address: str) -> None:
        self._numbers.invalidate(address)
