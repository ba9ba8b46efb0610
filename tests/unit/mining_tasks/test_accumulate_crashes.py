"""A worker or the store is killed: no acknowledged relay is lost, none counts twice."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mining_tasks.accumulate import Accumulation, accumulate
from relay_store.connection import Store, connect
from relay_store.dead import KILLS_WORKER, Requeued, dead_letters, requeue
from relay_store.relay_stream import ALONE_AFTER, DEAD_AFTER, stream_length
from relay_store.store_errors import StoreUnavailable
from tests.crashes import CRASHED, FINISHED, Moment, crash_at_store_call, kill_after
from tests.mined_relays import (
    KEYS,
    SUPPLIER,
    publish,
    publish_relays,
)
from tests.stores import kill_server, private_server
from tests.unit.mining_tasks.accumulations import LIMITS, assert_exact, assert_ledger, node_on


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_store_call_is_made_good(store: Store, tmp_path: Path, moment: Moment) -> None:
    numbers = [1, 2, 3, 3, 4, 5, 6, 7, 8, 9]
    for call in range(1, 100):
        store.client.flushall()
        node = node_on(store, tmp_path / "locks", 1)
        publish_relays(store, 1, numbers)
        publish(store, [b"poison"])
        ended = crash_at_store_call(call, moment, lambda node=node: accumulate(SUPPLIER, node))
        assert ended in (CRASHED, FINISHED)
        accumulate(SUPPLIER, node)
        assert_exact(store, 1, numbers)
        assert assert_ledger(store, 11) == {"leaves": 9, "duplicates": 1, "dead": 1}
        assert len(dead_letters(store, KEYS, SUPPLIER)) == 1
        if ended == FINISHED:
            break
    assert ended == FINISHED and call > 10


def _kill_at_random(store: Store, lock_dir: Path, kills: int, seed: int, longest_s: float = 0.03) -> None:
    """Kill at once after a start, again and again: what was in hand nine times is buried, and comes back."""
    chance, published, killed = random.Random(seed), 0, 0
    node = node_on(store, lock_dir, 1, limits=replace(LIMITS, batch_entries=40, first_read_entries=40))
    numbers: list[int] = []
    while killed < kills:
        fresh = [chance.randrange(100_000) for _ in range(300)]
        publish_relays(store, 1, fresh)
        numbers += fresh
        published += len(fresh)
        killed += kill_after(chance.uniform(0.001, longest_s), lambda: accumulate(SUPPLIER, node))
    while stream_length(store, KEYS, SUPPLIER):
        accumulate(SUPPLIER, node)
    buried = dead_letters(store, KEYS, SUPPLIER, count=kills)
    assert len(buried) <= killed // (DEAD_AFTER - ALONE_AFTER)
    for letter in buried:
        assert letter.reason == KILLS_WORKER
        assert requeue(store, KEYS, SUPPLIER, letter) is Requeued.DONE
    accumulate(SUPPLIER, node)
    assert_exact(store, 1, numbers)
    leaves = len(set(numbers))
    counted = {reason: count for reason, count in assert_ledger(store, published).items() if count}
    assert counted == {"leaves": leaves, "duplicates": published - leaves}


def test_kills_at_random_moments(store: Store, tmp_path: Path) -> None:
    _kill_at_random(store, tmp_path / "locks", 30, seed=1)


@pytest.mark.stress
@pytest.mark.parametrize("longest_s", [0.008, 0.03])
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_kills_at_random_moments(store: Store, tmp_path: Path, seed: int, longest_s: float) -> None:
    _kill_at_random(store, tmp_path / "locks", 60, seed, longest_s)


def test_a_killed_store_loses_no_acknowledged_relay(tmp_path: Path) -> None:
    data, locks = tmp_path / "data", tmp_path / "locks"
    with private_server(data, appendonly="yes") as server:
        store = connect(server.connection_url, timeout_s=1)
        node = node_on(store, locks, 1)
        publish_relays(store, 1, range(100))
        worker = threading.Thread(target=_until_unavailable, args=(node,))
        worker.start()
        while not store.client.exists(KEYS.commit(SUPPLIER)):
            pass
        kill_server(server)
        worker.join()
        with private_server(data, port=server.port, appendonly="yes"):
            accumulate(SUPPLIER, node)
            assert_exact(store, 1, range(100))
            assert_ledger(store, 100)


def _until_unavailable(node: Accumulation) -> None:
    try:
        accumulate(SUPPLIER, node)
    except StoreUnavailable:
        return
