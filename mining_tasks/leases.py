"""The leases of one node: which suppliers it owns, renewed together, taken and given up (decisions.md E)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Final

import structlog

from mining_tasks.config import MinerConfig
from mining_tasks.foreign_miners import ForeignMiners
from mining_tasks.metrics import MinerMetrics
from mining_tasks.ownership import Moves, View, fair_share, share_out
from relay_store.connection import Store, connect
from relay_store.keys import Keys
from relay_store.lease import Lease, StoreLease
from relay_store.nodes import heartbeat, leave, live_nodes
from relay_store.redlock import RedlockLease
from relay_store.scripts import ask_each
from relay_store.store_errors import StoreUnavailable

ORPHAN_S: Final = 0.4  # a free supplier beyond the fair share is taken when nobody else did for so long
KNOWN_FOR_MS: Final = 3_600_000
MASTER_TIMEOUT_S: Final = 0.3

log = structlog.get_logger("leases")


def masters_of(config: MinerConfig, store: Store) -> list[Store]:
    """Return the stores that vote on leases: the configured ones, else the data store alone."""
    urls = config.extensions.redlock_urls
    if not urls:
        return [store]
    return [connect(url, timeout_s=MASTER_TIMEOUT_S, connect_timeout_s=MASTER_TIMEOUT_S) for url in urls]


def lease_of(config: MinerConfig, store: Store, masters: Sequence[Store]) -> Lease:
    """Return the lease of a configuration: over the data store, or over N independent masters."""
    ttl_ms = config.extensions.lease_ttl_ms
    if config.extensions.redlock_urls:
        return RedlockLease(masters, store, ttl_ms=ttl_ms)
    return StoreLease(store, ttl_ms=ttl_ms)


class Leases:
    """The suppliers of one node. One thread uses it. Methods raise `StoreUnavailable`."""

    def __init__(
        self,
        config: MinerConfig,
        store: Store,
        keys: Keys,
        *,
        token: str,
        name: str,
        metrics: MinerMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._store = store
        self._keys = keys
        self._token = token
        self._name = name
        self._metrics = metrics
        self._monotonic = monotonic
        self._cool_down_s = 2.0 * config.extensions.rebalance_interval_seconds
        self._lease_keys = cache(keys.supplier_lease)  # of thousands, spelled each second
        self._masters = masters_of(config, store)
        self._lease = lease_of(config, store, self._masters)
        self._foreign = ForeignMiners(store, keys, name)
        self._owned: dict[str, float] = {}
        self._free_since: dict[str, float] = {}
        self._given_up: dict[str, float] = {}
        self._taken_back: dict[str, float] = {}
        self._ours: set[str] = {name}
        self._foreign_alive: list[str] = []
        self._rebalanced_at = monotonic()

    @property
    def owned(self) -> tuple[str, ...]:
        return tuple(self._owned)

    def renew(self) -> list[str]:
        """Give a sign of life and renew all leases in one go; return the suppliers that were lost."""
        heartbeat(self._store, self._keys, self._name)
        suppliers = list(self._owned)
        renewed = self._lease.renew([self._lease_keys(one) for one in suppliers], self._token)
        lost = [one for one, held in zip(suppliers, renewed, strict=True) if not held]
        for supplier in lost:
            log.warning("lease lost", supplier=supplier)
            self._metrics.count("ha_miner_supplier_released", supplier, "lost")
            self._lease.release(self._lease_keys(supplier), self._token)
            del self._owned[supplier]
        return lost

    def look_for_miners(self) -> None:
        """See which other miners live, ours and the reference's, and show this one to them when it takes part.

        The reference's miners give suppliers up for each miner that is listed: a node that waits must not be.
        """
        self._ours = {self._name, *live_nodes(self._store, self._keys, within_ms=KNOWN_FOR_MS)}
        if shared := self._foreign.renew(self.owned, self._ours):
            log.error("a miner of the reference holds suppliers of this node too", suppliers=shared)
        alive = self._foreign.alive(self._ours)
        changed, self._foreign_alive = alive != self._foreign_alive, alive
        if changed and self._waits_for_foreign:
            log.error("miners of the reference are at work: no further supplier is taken", miners=alive)
        if self._owned or not self._waits_for_foreign:
            self._foreign.show()
        else:
            self._foreign.hide()

    @property
    def _waits_for_foreign(self) -> bool:
        return bool(self._foreign_alive) and not self._config.extensions.mixed_fleet

    def moves(self, wanted: Collection[str]) -> Moves:
        """Return what to take and what to give up now."""
        now = self._monotonic()
        # Heartbeats go with the renewals: a node whose leases have run out must not be given others.
        nodes = live_nodes(self._store, self._keys, within_ms=self._config.extensions.lease_ttl_ms)
        self._look_for_free(wanted, now)
        may_release = now - self._rebalanced_at >= self._config.extensions.rebalance_interval_seconds
        may_release = may_release and not self._waits_for_foreign  # no node of ours could take it
        if may_release:
            self._rebalanced_at = now
        view = View(wanted, self._owned, self._free_since, self._given_up, len(nodes), now, self._taken_back)
        self._metrics.set("ha_miner_supplier_fair_share", fair_share(len(wanted), len(nodes)))
        self._metrics.set("ha_miner_supplier_claimed_count", len(self._owned))
        self._metrics.set("ha_miner_supplier_manager_suppliers_active", len(self._owned))
        return share_out(
            view,
            cool_down_s=self._cool_down_s,
            orphan_s=ORPHAN_S,
            may_release=may_release,
        )

    def acquire(self, supplier: str) -> bool:
        """Take a supplier; False when another node was faster, or a miner of the reference is in the way."""
        if self._waits_for_foreign:
            return False
        if not self._foreign.claim(supplier, self._ours):
            return False
        open_there = self._foreign.open_sessions(supplier)
        epoch = self._lease.acquire(self._lease_keys(supplier), self._token)
        if epoch is None:
            return False
        now = self._owned[supplier] = self._monotonic()
        self._free_since.pop(supplier, None)
        self._taken_back.pop(supplier, None)
        given_up_at = self._given_up.pop(supplier, None)
        if given_up_at is not None and now - given_up_at < self._cool_down_s:
            self._taken_back[supplier] = now
        log.info("supplier acquired", supplier=supplier, epoch=epoch)
        if open_there:
            log.warning(
                "the reference left sessions open: import-sessions takes them over",
                supplier=supplier,
                sessions=open_there,
            )
        self._metrics.count("ha_miner_supplier_claimed", supplier)
        return True

    def release(self, supplier: str, reason: str) -> None:
        """Give a supplier up, so that another node need not wait for the lease's end."""
        self._owned.pop(supplier, None)
        self._given_up[supplier] = self._monotonic()
        self._foreign.release(supplier)
        self._lease.release(self._lease_keys(supplier), self._token)
        log.info("supplier released", supplier=supplier, reason=reason)
        self._metrics.count("ha_miner_supplier_released", supplier, reason)

    def leave(self) -> None:
        """Give everything up: the node stops in an orderly way, or is not able to work. It may come back."""
        for supplier in self.owned:
            self.release(supplier, "shutdown")
        self._given_up.clear()
        self._taken_back.clear()
        self._foreign.hide()
        leave(self._store, self._keys, self._name)

    def _look_for_free(self, wanted: Collection[str], now: float) -> None:
        """Note since when suppliers we do not own have no lease on a majority of the masters.

        A master that does not answer says nothing; acquiring needs a majority anyway.
        """
        others = [supplier for supplier in wanted if supplier not in self._owned]
        missing = dict.fromkeys(others, 0)
        for master in self._masters if others else ():
            try:
                found = ask_each(master, "EXISTS", [self._lease_keys(supplier).lease for supplier in others])
            except StoreUnavailable as error:
                log.warning("free suppliers not seen", error=str(error)[:200])
                continue
            for supplier, exists in zip(others, found, strict=True):
                missing[supplier] += not exists
        majority = len(self._masters) // 2 + 1
        self._free_since = {
            supplier: self._free_since.get(supplier, now)
            for supplier, count in missing.items()
            if count >= majority
        }
