"""What a supplier's own transactions have cost, as last seen in a block: what the next will cost (spec/miner.md T27)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from relay_store.connection import Store
from relay_store.keys import OwnKeys
from relay_store.store_errors import store_errors

KEPT_S: Final = 30 * 86_400


class PaidFees:
    """The last fee of each phase of one supplier, never of another. All methods raise `StoreUnavailable`."""

    def __init__(self, store: Store, keys: OwnKeys, supplier: str) -> None:
        self._store = store
        self._key = keys.fees(supplier)

    def note(self, phase: str, fee_upokt: int, messages: int) -> None:
        """Keep the fee of a transaction that is in a block; `messages` is how many shared it."""
        with self._store.answers():
            pipeline = self._store.node(self._key).pipeline(transaction=True)
            pipeline.hset(self._key, phase, f"{fee_upokt}/{messages}")
            pipeline.expire(self._key, KEPT_S)
            pipeline.execute()

    def shares_upokt(self) -> Mapping[str, Fraction]:
        """Return one message's share of the last fee, by phase; phases without a fee so far are absent."""
        with store_errors():
            raw = self._store.client.hgetall(self._key)
        shares = {}
        for phase, text in raw.items():
            fee, _, messages = text.decode(errors="replace").partition("/")
            if fee.isdecimal() and messages.isdecimal() and int(messages):
                shares[phase.decode(errors="replace")] = Fraction(int(fee), int(messages))
        return shares
