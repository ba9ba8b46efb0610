"""Miners of the reference beside ours (decisions.md E, spec/miner.md §1.6).

Its miners hold `ha:miner:claim:<S>` and list themselves in `ha:miner:active`. We do the same, so that they leave our
suppliers alone, and stay away from those that one of them holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.scripts import run_over, run_script
from relay_store.session_state import LIVE_STATES
from relay_store.store_errors import store_errors

CLAIM_TTL_S: Final = 90


class ForeignMiners:
    """This node among the reference's miners, under the name `miner`. All methods raise `StoreUnavailable`."""

    def __init__(
        self, store: Store, keys: Keys, miner: str, *, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._store = store
        self._keys = keys
        self._miner = miner
        self._now_ns = now_ns

    def show(self) -> None:
        """List this node as the reference's miners list themselves."""
        with store_errors():
            self._store.client.sadd(self._keys.miner_active(), self._miner)
            self._store.client.set(
                self._keys.miner_instance(self._miner), str(self._now_ns()), ex=CLAIM_TTL_S
            )

    def hide(self) -> None:
        """Take this node off the list."""
        with store_errors():
            self._store.client.srem(self._keys.miner_active(), self._miner)
            self._store.client.delete(self._keys.miner_instance(self._miner))

    def alive(self, ours: Collection[str]) -> list[str]:
        """Return the live miners that are none of `ours`."""
        with store_errors():
            listed = [name.decode() for name in self._store.client.smembers(self._keys.miner_active())]
            return sorted(
                name
                for name in listed
                if name not in ours and self._store.client.exists(self._keys.miner_instance(name))
            )

    def claim(self, supplier: str, ours: Collection[str]) -> bool:
        """Hold the reference's lease of a supplier; False when a miner that is none of `ours` holds it.

        Asked for only when our own lease of the supplier is free or ours, so that what another of `ours` left there
        is taken over.
        """
        key = self._keys.miner_claim(supplier)
        with store_errors():
            raw = self._store.client.get(key)
        holder = None if raw is None else raw.decode()
        if holder is not None and holder != self._miner and holder in ours:
            run_script(self._store, "lease_release", (key,), holder)
        ttl_ms = CLAIM_TTL_S * 1000
        return run_script(self._store, "lease_acquire", (key,), self._miner, ttl_ms) is not None

    def open_sessions(self, supplier: str) -> int:
        """Return how many sessions the reference's miners have not finished; also those imported since."""
        with store_errors():
            pipeline = self._store.client.pipeline(transaction=False)
            for state in LIVE_STATES:
                pipeline.scard(self._keys.reference_session_state(supplier, state.value))
            return sum(pipeline.execute())

    def renew(self, suppliers: Collection[str], ours: Collection[str]) -> list[str]:
        """Prolong the reference's leases of what we own; return the suppliers that a miner of the reference holds.

        One that is gone, or that another of `ours` took and then got no lease for, is taken anew: nobody would prolong
        it, and when it ran out a miner of the reference would take the supplier beside us.
        """
        claims = [(self._keys.miner_claim(supplier),) for supplier in suppliers]
        renewed = run_over(self._store, "lease_renew", claims, self._miner, CLAIM_TTL_S * 1000)
        lost = [supplier for supplier, held in zip(suppliers, renewed, strict=True) if not held]
        return [supplier for supplier in lost if not self.claim(supplier, ours)]

    def release(self, supplier: str) -> None:
        """Give the reference's lease up if it is ours."""
        run_script(self._store, "lease_release", (self._keys.miner_claim(supplier),), self._miner)
