"""The reference's claim on a supplier we own is always ours: else a miner of the reference takes the supplier too."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

import mining_tasks.leases
from mining_tasks.config import MinerConfig
from mining_tasks.foreign_miners import ForeignMiners
from mining_tasks.leases import Leases
from mining_tasks.metrics import MinerMetrics
from relay_store.connection import Store
from relay_store.keys import Keys
from tests.logs import captured

KEYS = Keys()
S = "pokt1supplier"


def node(store: Store, name: str) -> Leases:
    metrics = MinerMetrics(CollectorRegistry())
    leases = Leases(MinerConfig(), store, KEYS, token=f"token of {name}", name=name, metrics=metrics)
    leases.renew()
    leases.look_for_miners()
    return leases


def test_a_claim_left_by_a_node_that_was_too_slow_becomes_the_owners(store: Store) -> None:
    """Two nodes that start together want the same suppliers: the one that got no lease may have claimed last."""
    first = node(store, "first")
    node(store, "second")
    assert first.acquire(S)
    assert ForeignMiners(store, KEYS, "second").claim(S, {"first", "second"})
    first.look_for_miners()
    assert store.client.get(KEYS.miner_claim(S)) == b"first"


def test_a_claim_that_is_gone_is_made_anew(store: Store) -> None:
    first = node(store, "first")
    assert first.acquire(S)
    store.client.delete(KEYS.miner_claim(S))
    first.look_for_miners()
    assert store.client.get(KEYS.miner_claim(S)) == b"first"
    assert 0 < store.client.ttl(KEYS.miner_claim(S)) <= 90


def test_a_claim_of_the_reference_on_our_supplier_is_told(store: Store) -> None:
    first = node(store, "first")
    assert first.acquire(S)
    store.client.set(KEYS.miner_claim(S), "miner-go-1", ex=90)
    with captured(mining_tasks.leases) as lines:
        first.look_for_miners()
    assert store.client.get(KEYS.miner_claim(S)) == b"miner-go-1"
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert line["suppliers"] == [S]
