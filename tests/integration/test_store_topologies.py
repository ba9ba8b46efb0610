"""The store core on a Cluster and under Sentinel: the same exactness, and a way back after a change."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from mining_tasks.accumulate import accumulate
from mining_tasks.seal import seal_session
from relay_store import ticket
from relay_store.connection import Store, connect
from relay_store.fence import NotOwner, open_fence
from relay_store.intents import Intent, Intents
from relay_store.keys import CLAIM_PHASE
from relay_store.lease import StoreLease
from relay_store.probe import memory_use, probe
from relay_store.session_state import SessionState
from relay_store.sessions import Sessions
from relay_store.store_errors import StoreUnavailable, store_errors
from tests.mined_relays import KEYS, SUPPLIER, expected_root, header_of, publish_relays
from tests.stores import kill_server
from tests.topologies import Cluster, Replicated, running_sentinel, wait_until
from tests.unit.mining_tasks.accumulations import assert_exact, assert_ledger, node_on

SID = header_of(1).session_id
LEASE = KEYS.supplier_lease(SUPPLIER)


def test_a_session_on_a_cluster_is_exact(store: Store, tmp_path: Path) -> None:
    node = node_on(store, tmp_path, 1)
    publish_relays(store, 1, [*range(30), 3, 4])
    accumulate(SUPPLIER, node)
    assert_exact(store, 1, range(30))
    assert_ledger(store, 32)
    assert seal_session(SUPPLIER, SID, node).root == expected_root(1, range(30))
    sessions = Sessions(store, KEYS, SUPPLIER)
    assert sessions.transition(SID, SessionState.ACTIVE, SessionState.PROVED, token="me")
    assert sessions.retire(SID, token="me") and sessions.listed() == [(SID, 20)]


def test_leases_and_tickets_of_suppliers_on_all_masters(cluster: Cluster, store: Store) -> None:
    suppliers = [f"pokt1s{number}" for number in range(40)]
    lease = StoreLease(store)
    assert [lease.acquire(KEYS.supplier_lease(supplier), "me") for supplier in suppliers] == [1] * 40
    assert lease.renew([KEYS.supplier_lease(supplier) for supplier in suppliers], "me") == [True] * 40
    assert lease.acquire(KEYS.beat_lease(), "me") == 1 and lease.renew([KEYS.beat_lease()], "me") == [True]
    assert ticket.take_tickets(store, KEYS, suppliers).taken == suppliers
    assert all(master.dbsize() > 50 for master in cluster.masters)


def test_intents_of_several_sessions_share_a_slot(store: Store) -> None:
    StoreLease(store).acquire(LEASE, "me")
    intent = Intent(CLAIM_PHASE, ("a", "b"), 1, b"tx", "AA", 1, 1)
    with open_fence(store, KEYS, SUPPLIER, "me") as fence:
        assert Intents(store, KEYS, SUPPLIER).create(fence, intent, ttl_s=60) == [intent]
    assert Intents(store, KEYS, SUPPLIER).find("b", CLAIM_PHASE) == intent


def test_probing_asks_every_master(store: Store) -> None:
    report = probe(store)
    assert any("min-replicas-to-write" in text for text in report.warnings)
    assert memory_use(store).used > 0


def test_a_slot_that_moved_is_found_again_and_nothing_is_written_to_the_old_place(
    cluster: Cluster, store: Store, tmp_path: Path
) -> None:
    slot = store.client.keyslot(LEASE.lease)
    cluster.move_empty_slot(slot)
    with pytest.raises(StoreUnavailable), open_fence(store, KEYS, SUPPLIER, "me") as fence:
        fence.watch()
    node = node_on(store, tmp_path, 1)
    publish_relays(store, 1, range(10))
    accumulate(SUPPLIER, node)
    assert_exact(store, 1, range(10))


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Replicated]:
    (tmp_path / "sentinel").mkdir()
    with running_sentinel(tmp_path / "sentinel") as running:
        yield running


def test_a_failover_is_survived(replicated: Replicated, tmp_path: Path) -> None:
    store = connect(replicated.url, timeout_s=1)
    node = node_on(store, tmp_path / "locks", 1)
    publish_relays(store, 1, range(10))
    accumulate(SUPPLIER, node)
    publish_relays(store, 1, range(10, 20))
    replica = connect(replicated.replica.connection_url).client
    wait_until(lambda: replica.xlen(KEYS.relay_stream(SUPPLIER)) == 10)
    kill_server(replicated.master)
    with pytest.raises(StoreUnavailable):
        accumulate(SUPPLIER, node)
    wait_until(lambda: StoreLease(store).acquire(LEASE, "next"))
    with pytest.raises(NotOwner), open_fence(store, KEYS, SUPPLIER, "me") as fence:
        fence.watch()
    assert StoreLease(store).release(LEASE, "next")
    node = node_on(store, tmp_path / "locks", 1)
    accumulate(SUPPLIER, node)
    assert_exact(store, 1, range(20))
    assert_ledger(store, 20)


def test_a_master_that_was_away_and_lost_its_replicas_is_left_at_once(replicated: Replicated) -> None:
    """It still believes to be the master, and the Sentinels correct it only after eight seconds and more."""
    store = connect(replicated.url, timeout_s=1)
    old = connect(replicated.master.connection_url).client
    old.config_set("min-replicas-to-write", 1)
    old.config_set("min-replicas-max-lag", 1)

    def write(key: str) -> bool:
        with store_errors():
            return bool(store.client.set(key, 1))

    wait_until(lambda: write("before"))
    pid = int(old.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    new = connect(replicated.replica.connection_url).client

    def is_promoted() -> bool:
        try:
            return bool(new.info("replication")["role"] == "master")
        except RedisConnectionError:  # it drops its clients when it changes sides
            return False

    wait_until(is_promoted)
    os.kill(pid, signal.SIGCONT)
    # It may take writes until it has counted its replicas again, within a second: those are lost.
    wait_until(lambda: write("after") and new.get("after"), timeout_s=4)
    store.close()
