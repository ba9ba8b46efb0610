"""Two writers, stolen leases, seals in between: nothing is written that is not fenced."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mining_tasks.accumulate import Accumulation, Outcome, accumulate, reclaim
from mining_tasks.batch import Batch
from mining_tasks.judgement import Fate
from mining_tasks.local_lock import supplier_lock
from pocket_protocol.types import Height
from relay_store.connection import Store
from relay_store.fence import Fence
from relay_store.lease import StoreLease
from relay_store.leaves import Seal
from relay_store.relay_stream import stream_length
from relay_store.store_errors import StoreUnavailable
from tests.mined_relays import (
    KEYS,
    SUPPLIER,
    KnownSessions,
    header_of,
    publish_relays,
)
from tests.unit.mining_tasks.accumulations import (
    LEASE,
    LIMITS,
    Interferes,
    assert_exact,
    assert_ledger,
    leaves_of,
)


def test_a_stolen_lease_stops_the_writer_before_its_next_write(store: Store, node: Accumulation) -> None:
    def steal() -> None:
        store.client.delete(LEASE.lease)
        assert StoreLease(store).acquire(LEASE, "thief") == 2

    publish_relays(store, 1, range(20))
    outcome = accumulate(SUPPLIER, replace(node, lookup=Interferes(KnownSessions.of(1), steal)))
    assert outcome.owner_lost and outcome.fates == {} and outcome.remaining == 20
    assert not store.client.exists(KEYS.commit(SUPPLIER), leaves_of(store, 1).leaves_key)
    assert accumulate(SUPPLIER, replace(node, token="thief")).fates == {Fate.NEW: 20}
    assert_exact(store, 1, range(20))


def test_a_connection_cut_in_the_middle_writes_nothing_unfenced(store: Store, node: Accumulation) -> None:
    def cut_and_steal() -> None:
        store.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        store.client.set(LEASE.owner, "thief")

    publish_relays(store, 1, range(5))
    with pytest.raises(StoreUnavailable):
        accumulate(SUPPLIER, replace(node, lookup=Interferes(KnownSessions.of(1), cut_and_steal)))
    assert not store.client.exists(KEYS.commit(SUPPLIER), leaves_of(store, 1).leaves_key)
    assert accumulate(SUPPLIER, replace(node, token="thief")).fates == {Fate.NEW: 5}


def test_a_commit_in_between_makes_the_batch_be_read_again(store: Store, node: Accumulation) -> None:
    def overtake() -> None:
        store.client.incr(KEYS.commit(SUPPLIER))

    publish_relays(store, 1, range(5))
    outcome = accumulate(SUPPLIER, replace(node, lookup=Interferes(KnownSessions.of(1), overtake)))
    assert (outcome.retried, outcome.fates) == (1, {Fate.NEW: 5})
    assert_exact(store, 1, range(5))


def test_a_session_sealed_in_between_gets_no_leaf(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(3))
    accumulate(SUPPLIER, node)
    publish_relays(store, 1, [7])
    seal = Seal(216, 3).to_bytes()

    class SealsLate(KnownSessions):
        def height(self) -> int:  # type: ignore[override]
            store.client.set(leaves_of(store, 1).seal_key, seal)
            return 0

    outcome = accumulate(SUPPLIER, replace(node, lookup=SealsLate(KnownSessions.of(1).sessions)))
    assert outcome.fates == {Fate.LATE: 1}
    assert_exact(store, 1, range(3))


@pytest.mark.parametrize("key", ["seal", "session"])
def test_a_seal_or_state_that_changes_before_the_transaction_stops_it(
    store: Store, node: Accumulation, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    publish_relays(store, 1, range(3))
    accumulate(SUPPLIER, node)
    publish_relays(store, 1, [7])
    compare, changes = Batch.compare, [1]

    def compare_and_change(self: Batch, fence: Fence, height: Height) -> None:
        compare(self, fence, height)
        if key == "seal" and changes:
            store.client.set(leaves_of(store, 1).seal_key, Seal(216, 3).to_bytes())
        elif changes:
            session_key = KEYS.session(SUPPLIER, header_of(1).session_id)
            store.client.hset(session_key, "state", "claim_window_closed")
        changes.clear()

    monkeypatch.setattr(Batch, "compare", compare_and_change)
    outcome = accumulate(SUPPLIER, node)
    assert (outcome.retried, outcome.fates) == (1, {Fate.LATE: 1})
    assert_exact(store, 1, range(3))


def test_one_process_of_a_node_at_a_time(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(3))
    with supplier_lock(node.lock_dir, SUPPLIER) as held:
        assert held and accumulate(SUPPLIER, node).busy
    assert accumulate(SUPPLIER, node).fates == {Fate.NEW: 3}


def test_taking_over_finds_what_another_consumer_held(store: Store, node: Accumulation) -> None:
    stream, group = KEYS.relay_stream(SUPPLIER), KEYS.consumer_group()
    publish_relays(store, 1, range(4))
    store.client.xgroup_create(stream, group, "0")
    store.client.xreadgroup(group, "miner-host-7", {stream: ">"}, count=3)
    assert reclaim(SUPPLIER, node) == 3
    assert accumulate(SUPPLIER, node).fates == {Fate.NEW: 4}


def test_two_writers_at_once_stay_exact(store: Store, node: Accumulation, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    publish_relays(store, 1, range(400))

    def work(number: int) -> None:
        other = replace(node, lock_dir=tmp_path / str(number), limits=replace(LIMITS, batch_entries=20))
        while stream_length(store, KEYS, SUPPLIER):
            outcomes.append(accumulate(SUPPLIER, other))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome.fates[Fate.NEW] for outcome in outcomes) == 400
    assert_exact(store, 1, range(400))
    assert assert_ledger(store, 400) == {"leaves": 400}
