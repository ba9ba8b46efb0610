"""How much one task takes on: time slices, batches, relays that come meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mining_tasks.accumulate import Accumulation, Limits, accumulate
from mining_tasks.judgement import Fate
from mining_tasks.session_facts import SessionFacts
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from relay_store.connection import Store
from tests.mined_relays import (
    SUPPLIER,
    KnownSessions,
    publish_relays,
)
from tests.unit.mining_tasks.accumulations import LIMITS, Interferes, assert_exact, node_on


def test_a_time_slice_ends_and_says_what_remains(store: Store, node: Accumulation) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    publish_relays(store, 1, range(30))
    limits = replace(LIMITS, slice_s=2.5)
    outcome = accumulate(SUPPLIER, replace(node, monotonic=tick, limits=limits))
    assert outcome.batches == 2 and outcome.remaining == 14 and outcome.unfinished


@pytest.mark.parametrize(("suppliers", "linger_s"), [(1, 0.25), (25, 0.25), (60, 0.6), (5000, 2.0)])
def test_relays_gather_longer_where_many_suppliers_share_a_node(suppliers: int, linger_s: float) -> None:
    limits = Limits().on_node_of(suppliers)
    assert limits == replace(Limits(), linger_s=linger_s)


class _Busy(KnownSessions):
    """Publishes one more relay while each batch is judged."""

    def __init__(self, store: Store, known: KnownSessions) -> None:
        super().__init__(known.sessions)
        self.store, self.published = store, 100

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        self.published += 1
        publish_relays(self.store, 1, [self.published])
        return super().facts(supplier, header)


def test_relays_that_come_meanwhile_gather_for_the_next_task(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(3))
    busy = replace(node, lookup=_Busy(store, KnownSessions.of(1)), limits=replace(LIMITS, linger_s=30.0))
    outcome = accumulate(SUPPLIER, busy)
    assert (outcome.batches, outcome.fates, outcome.remaining) == (1, {Fate.NEW: 3}, 1)
    assert not outcome.unfinished, "whoever appended it sends the next task"


def test_a_task_that_took_longer_than_relays_gather_looks_again(store: Store, node: Accumulation) -> None:
    """One that came meanwhile found the lock taken; nobody else would be sent."""
    publish_relays(store, 1, range(3))
    ticks = iter([0.0, 0.0, 1.0, 1.0, 1.1])
    lookup = Interferes(KnownSessions.of(1), lambda: publish_relays(store, 1, [7]))
    limits = replace(LIMITS, linger_s=0.5)
    outcome = accumulate(SUPPLIER, replace(node, lookup=lookup, limits=limits, monotonic=lambda: next(ticks)))
    assert (outcome.batches, outcome.fates, outcome.remaining) == (2, {Fate.NEW: 4}, 0)


def test_large_entries_make_small_batches(store: Store, node: Accumulation) -> None:
    limits = replace(LIMITS, batch_entries=1000, first_read_entries=2, batch_bytes=10_000)
    publish_relays(store, 1, range(20), size=4000)
    assert accumulate(SUPPLIER, replace(node, limits=limits)).batches == 10
    assert_exact(store, 1, range(20), size=4000)


def test_a_batch_costs_few_commands_however_many_relays_it_has(store: Store, tmp_path: Path) -> None:
    def commands() -> int:
        statistics = store.client.info("commandstats").items()
        return sum(of["calls"] for name, of in statistics if name != "cmdstat_info")

    node = node_on(
        store, tmp_path / "locks", 1, limits=replace(LIMITS, batch_entries=1000, first_read_entries=1000)
    )
    publish_relays(store, 1, range(10))
    accumulate(SUPPLIER, node)
    costs = []
    for numbers in (range(10, 20), range(20, 1020)):
        publish_relays(store, 1, numbers)
        before = commands()
        assert accumulate(SUPPLIER, node).batches == 1
        costs.append(commands() - before)
    assert costs[1] <= costs[0] + 3 < 50
