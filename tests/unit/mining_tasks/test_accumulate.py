from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mining_tasks.accumulate import Accumulation, Limits, Outcome, accumulate, reclaim
from mining_tasks.batch import Batch
from mining_tasks.judgement import Fate
from mining_tasks.local_lock import supplier_lock
from mining_tasks.session_facts import SessionFacts
from pocket_protocol import smst
from pocket_protocol.errors import Unavailable
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.relay import relay_hash
from pocket_protocol.types import Height
from relay_store.connection import Store, connect
from relay_store.dead import KILLS_WORKER, Requeued, dead_letters, requeue
from relay_store.fence import Fence
from relay_store.lease import StoreLease
from relay_store.leaves import Leaves, Seal
from relay_store.probe import probe
from relay_store.relay_stream import ALONE_AFTER, DEAD_AFTER, stream_length
from relay_store.sessions import BACKSTOP_TTL_S, Sessions
from relay_store.store_errors import StoreFull, StoreRefused, StoreUnavailable
from relay_store.ticket import take_tickets
from tests.crashes import CRASHED, FINISHED, Moment, crash_at_store_call, kill_after
from tests.mined_relays import (
    CUPR,
    KEYS,
    SUPPLIER,
    KnownSessions,
    entry_of,
    expected_root,
    header_of,
    publish,
    publish_relays,
    relay_bytes,
)
from tests.stores import kill_server, private_server

LEASE = KEYS.supplier_lease(SUPPLIER)
LIMITS = Limits(batch_entries=8, first_read_entries=8, linger_s=0.0, slice_s=30.0)


def node_on(store: Store, lock_dir: Path, *sessions: int, limits: Limits = LIMITS) -> Accumulation:
    StoreLease(store).acquire(LEASE, "me")
    xackdel = "XACKDEL" in probe(store).commands  # as a miner that starts on this server
    return Accumulation(store, KEYS, "me", KnownSessions.of(*sessions), lock_dir, limits, xackdel=xackdel)


@pytest.fixture
def node(store: Store, tmp_path: Path) -> Iterator[Accumulation]:
    yield node_on(store, tmp_path / "locks", 1, 2)


def leaves_of(store: Store, session: int) -> Leaves:
    return Leaves(store, KEYS, SUPPLIER, header_of(session).session_id)


def assert_exact(store: Store, session: int, numbers: range | list[int], *, size: int = 200) -> None:
    """The session has these relays, each once, in leaves, index, counter and root."""
    leaves, distinct = leaves_of(store, session), len(set(numbers))
    index = store.client.get(leaves.index_key)
    assert store.client.hlen(leaves.leaves_key) == distinct
    assert len(index) == distinct * smst.RECORD_SIZE
    root = smst.Root.from_bytes(smst.bulk_root(smst.collapse(index)))
    assert root == expected_root(session, numbers, size=size)
    record = Sessions(store, KEYS, SUPPLIER).read(header_of(session).session_id)
    assert record is not None and record.counters["leaves"] == distinct


def assert_ledger(store: Store, published: int) -> dict[str, int]:
    """wal = leaves + duplicates + late + below + dead + pending (decisions.md F)."""
    totals = Sessions(store, KEYS, SUPPLIER).totals()
    totals.pop("weight_mismatch", 0)
    assert published == sum(totals.values()) + stream_length(store, KEYS, SUPPLIER)
    return totals


def test_relays_become_leaves_of_their_sessions(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(30))
    publish_relays(store, 2, range(5))
    outcome = accumulate(SUPPLIER, node)
    assert outcome.fates == {Fate.NEW: 35} and outcome.batches == 5 and outcome.remaining == 0
    assert_exact(store, 1, range(30))
    assert_exact(store, 2, range(5))
    assert assert_ledger(store, 35) == {"leaves": 35}
    sessions = Sessions(store, KEYS, SUPPLIER)
    assert sessions.listed() == [(header_of(1).session_id, 20), (header_of(2).session_id, 30)]
    record = sessions.read(header_of(1).session_id)
    assert record is not None
    snapshot = record.snapshot
    assert (snapshot.supplier, snapshot.service_id, snapshot.application) == (
        SUPPLIER,
        "svc1",
        "pokt1application",
    )
    assert (snapshot.claim_open, snapshot.claim_close, snapshot.proof_open, snapshot.proof_close) == (
        22,
        30,
        31,
        38,
    )
    assert (snapshot.cupr, snapshot.target) == (CUPR, "ff" * 32)
    keys = [KEYS.session(SUPPLIER, snapshot.session_id), *vars(leaves_of(store, 1)).values()][:3]
    assert all(0 < store.client.ttl(key) <= BACKSTOP_TTL_S for key in keys if isinstance(key, str))


def test_nothing_to_do_is_nothing_done(store: Store, node: Accumulation) -> None:
    assert accumulate(SUPPLIER, node) == Outcome()
    assert not store.client.exists(KEYS.commit(SUPPLIER))


@pytest.mark.parametrize("linger_s", [0.0, 0.5])
def test_the_ticket_is_ended_first_or_left_a_moment(
    store: Store, node: Accumulation, linger_s: float
) -> None:
    take_tickets(store, KEYS, [SUPPLIER])
    store.client.set(LEASE.owner, "other")
    publish_relays(store, 1, range(1))
    lingering = replace(node, limits=replace(LIMITS, linger_s=linger_s))
    assert accumulate(SUPPLIER, lingering).owner_lost
    assert store.client.pttl(KEYS.ticket(SUPPLIER)) <= 500
    assert bool(store.client.exists(KEYS.ticket(SUPPLIER))) is bool(linger_s)


def test_duplicates_in_one_batch_in_another_and_after_the_seal(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, [1, 2, 2, 1, 3])
    accumulate(SUPPLIER, node)
    publish_relays(store, 1, [3, 4])
    accumulate(SUPPLIER, node)
    assert_exact(store, 1, [1, 2, 3, 4])
    store.client.set(leaves_of(store, 1).seal_key, Seal(288, 4).to_bytes())
    publish_relays(store, 1, [4, 5])
    outcome = accumulate(SUPPLIER, node)
    assert outcome.fates == {Fate.DUPLICATE: 1, Fate.LATE: 1}
    assert_exact(store, 1, [1, 2, 3, 4])
    assert assert_ledger(store, 9) == {"leaves": 4, "duplicates": 4, "late": 1}


@pytest.mark.parametrize("why", ["sealed", "terminal", "height"])
def test_late_relays_change_nothing(store: Store, node: Accumulation, why: str) -> None:
    publish_relays(store, 1, [1])
    accumulate(SUPPLIER, node)
    session_key = KEYS.session(SUPPLIER, header_of(1).session_id)
    if why == "sealed":
        store.client.set(leaves_of(store, 1).seal_key, Seal(72, 1).to_bytes())
    elif why == "terminal":
        store.client.hset(session_key, "state", "claim_window_closed")
        store.client.expire(session_key, 100)
    else:
        assert isinstance(node.lookup, KnownSessions)
        node.lookup.current = 30
    publish_relays(store, 1, [2])
    publish_relays(store, 2, [2] if why == "height" else [])
    outcome = accumulate(SUPPLIER, node)
    assert outcome.fates[Fate.LATE] == 1
    assert_exact(store, 1, [1])
    assert store.client.hget(session_key, "late") == b"1"
    if why == "terminal":
        assert store.client.ttl(session_key) <= 100, "its retention goes on running"


def test_relays_of_a_closed_session_without_leaves_leave_no_record(store: Store, node: Accumulation) -> None:
    assert isinstance(node.lookup, KnownSessions)
    node.lookup.current = 30
    publish_relays(store, 1, [1])
    assert accumulate(SUPPLIER, node).fates == {Fate.LATE: 1}
    assert Sessions(store, KEYS, SUPPLIER).listed() == []
    assert not store.client.exists(KEYS.session(SUPPLIER, header_of(1).session_id))


def test_relays_below_difficulty_are_counted_and_left_out(store: Store, node: Accumulation) -> None:
    target = bytes([128]) + bytes(31)
    good = [n for n in range(40) if relay_hash(relay_bytes(header_of(1), n)) < target]
    assert 5 < len(good) < 35
    publish_relays(store, 1, range(40))
    outcome = accumulate(SUPPLIER, replace(node, lookup=KnownSessions.of(1, target=target)))
    assert outcome.fates == {Fate.NEW: len(good), Fate.BELOW: 40 - len(good)}
    assert_exact(store, 1, good)
    assert_ledger(store, 40)


def test_the_weight_is_the_sessions_never_the_entrys(store: Store, node: Accumulation) -> None:
    header = header_of(1)
    publish(store, [entry_of(header, relay_bytes(header, n), weight=n) for n in (0, 7, 9)])
    assert accumulate(SUPPLIER, node).weight_mismatches == 2
    assert_exact(store, 1, [0, 7, 9])
    assert store.client.hget(KEYS.totals(SUPPLIER), "weight_mismatch") == b"2"


@pytest.mark.parametrize(
    "facts",
    [None, SessionFacts(header_of(1)), SessionFacts(header_of(1), cupr=CUPR)],
    ids=["nothing", "header", "no target"],
)
def test_without_the_chain_relays_are_kept_with_weight_0(
    store: Store, node: Accumulation, facts: SessionFacts | None
) -> None:
    publish_relays(store, 1, range(3))
    assert accumulate(SUPPLIER, replace(node, lookup=KnownSessions({1: facts}))).fates == {Fate.NEW: 3}
    index = store.client.get(leaves_of(store, 1).index_key)
    assert smst.Root.from_bytes(smst.bulk_root(smst.collapse(index))) == expected_root(1, range(3), weight=0)


def _poisons() -> list[tuple[str, bytes]]:
    header, other = header_of(1), header_of(2)
    relay = relay_bytes(header, 1)
    split = Relay.FromString(relay)
    split.res.meta.session_header.CopyFrom(other)
    odd = SessionHeader()
    odd.CopyFrom(header)
    odd.session_id = "../" + header.session_id
    wrong_end = SessionHeader()
    wrong_end.CopyFrom(header)
    wrong_end.session_end_block_height += 1
    return [
        ("undecodable", b"\xff\xff"),
        ("undecodable", entry_of(header, b"\xff\xff")),
        ("wrong_supplier", b""),
        ("wrong_supplier", entry_of(header, relay, supplier="pokt1other")),
        ("wrong_supplier", entry_of(header, relay_bytes(header, 1, supplier="pokt1other"))),
        ("session_mismatch", entry_of(other, relay)),
        ("session_mismatch", entry_of(header, split.SerializeToString())),
        ("bad_session_id", entry_of(odd, relay_bytes(odd, 1))),
        ("session_mismatch", entry_of(wrong_end, relay)),
        ("session_header_mismatch", entry_of(wrong_end, relay_bytes(wrong_end, 1))),
        ("no_such_session_on_chain", entry_of(header_of(9), relay_bytes(header_of(9), 1))),
    ]


def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, [1])
    publish(store, [body for _, body in _poisons()])
    publish_relays(store, 1, [2])
    outcome = accumulate(SUPPLIER, node)
    assert outcome.fates == {Fate.NEW: 2, Fate.DEAD: len(_poisons())}
    letters = dead_letters(store, KEYS, SUPPLIER)[::-1]
    assert [(letter.reason, letter.body) for letter in letters] == _poisons()
    assert_exact(store, 1, [1, 2])
    assert_ledger(store, 2 + len(_poisons()))


def test_dead_letters_that_were_put_back_become_leaves(store: Store, node: Accumulation) -> None:
    """A node that knew nothing of a session, then one that does; counts follow, so the books close."""
    ignorant = replace(node, lookup=KnownSessions.of(2))
    publish_relays(store, 1, range(3))
    publish_relays(store, 2, range(2))
    assert accumulate(SUPPLIER, ignorant).fates == {Fate.DEAD: 3, Fate.NEW: 2}
    publish_relays(store, 1, [3])
    assert accumulate(SUPPLIER, node).fates == {Fate.NEW: 1}
    publish_relays(store, 1, [4])
    assert accumulate(SUPPLIER, ignorant).fates == {Fate.DEAD: 1}  # of a session that is on record
    record = Sessions(store, KEYS, SUPPLIER).read(header_of(1).session_id)
    assert record is not None and record.counters["dead"] == 1
    for letter in dead_letters(store, KEYS, SUPPLIER):
        assert requeue(store, KEYS, SUPPLIER, letter) is Requeued.DONE
    assert assert_ledger(store, 7) == {"leaves": 3, "dead": 0}
    assert accumulate(SUPPLIER, node).fates == {Fate.NEW: 4}
    assert_exact(store, 1, range(5))
    record = Sessions(store, KEYS, SUPPLIER).read(header_of(1).session_id)
    assert record is not None and record.counters["dead"] == 0
    assert assert_ledger(store, 7) == {"leaves": 7, "dead": 0}


def test_one_session_id_never_has_two_headers(store: Store, node: Accumulation) -> None:
    header, twin = header_of(1), header_of(1)
    twin.application_address = "pokt1twin"
    publish(store, [entry_of(header, relay_bytes(header, 1)), entry_of(twin, relay_bytes(twin, 2))])
    outcome = accumulate(SUPPLIER, replace(node, lookup=KnownSessions({1: None})))
    assert outcome.fates == {Fate.NEW: 1, Fate.DEAD: 1}


class _KillsOnSession9(KnownSessions):
    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        if header.session_start_block_height == 91:
            os._exit(CRASHED)
        return super().facts(supplier, header)


def test_an_entry_that_kills_the_worker_ends_dead_and_loses_nobody(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(5))
    publish_relays(store, 9, [1])
    publish_relays(store, 1, range(5, 20))
    deadly = replace(node, lookup=_KillsOnSession9(KnownSessions.of(1).sessions))
    deaths = 0
    while stream_length(store, KEYS, SUPPLIER):
        deaths += crash_at_store_call(0, "before", lambda: accumulate(SUPPLIER, deadly)) == CRASHED
        assert deaths <= DEAD_AFTER
    assert deaths == DEAD_AFTER
    (letter,) = dead_letters(store, KEYS, SUPPLIER)
    assert letter.reason == KILLS_WORKER
    assert_exact(store, 1, range(20))
    assert_ledger(store, 21)


def test_a_store_that_fails_often_makes_no_relay_dead(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(5))
    store.client.config_set("maxmemory", "1")
    try:
        for _ in range(2 * DEAD_AFTER):
            with pytest.raises(StoreFull):
                accumulate(SUPPLIER, node)
    finally:
        store.client.config_set("maxmemory", "0")
    assert accumulate(SUPPLIER, node).fates == {Fate.NEW: 5}


def test_a_damaged_session_stops_neither_the_others_nor_for_ever(store: Store, node: Accumulation) -> None:
    store.client.set(leaves_of(store, 1).leaves_key, "not a hash")
    publish_relays(store, 1, [1])
    publish_relays(store, 2, range(3))
    for _ in range(DEAD_AFTER):
        with pytest.raises(StoreRefused):
            accumulate(SUPPLIER, node)
    accumulate(SUPPLIER, node)
    assert [letter.reason for letter in dead_letters(store, KEYS, SUPPLIER)] == [KILLS_WORKER]
    assert_exact(store, 2, range(3))
    assert not store.client.exists(leaves_of(store, 1).index_key)


class _Interferes(KnownSessions):
    """Does something in the middle of a batch: after reading, before the transaction."""

    def __init__(self, known: KnownSessions, act: object) -> None:
        super().__init__(known.sessions)
        self.act = act

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        act, self.act = self.act, None
        if callable(act):
            act()
        return super().facts(supplier, header)


def test_a_stolen_lease_stops_the_writer_before_its_next_write(store: Store, node: Accumulation) -> None:
    def steal() -> None:
        store.client.delete(LEASE.lease)
        assert StoreLease(store).acquire(LEASE, "thief") == 2

    publish_relays(store, 1, range(20))
    outcome = accumulate(SUPPLIER, replace(node, lookup=_Interferes(KnownSessions.of(1), steal)))
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
        accumulate(SUPPLIER, replace(node, lookup=_Interferes(KnownSessions.of(1), cut_and_steal)))
    assert not store.client.exists(KEYS.commit(SUPPLIER), leaves_of(store, 1).leaves_key)
    assert accumulate(SUPPLIER, replace(node, token="thief")).fates == {Fate.NEW: 5}


def test_a_commit_in_between_makes_the_batch_be_read_again(store: Store, node: Accumulation) -> None:
    def overtake() -> None:
        store.client.incr(KEYS.commit(SUPPLIER))

    publish_relays(store, 1, range(5))
    outcome = accumulate(SUPPLIER, replace(node, lookup=_Interferes(KnownSessions.of(1), overtake)))
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


def test_a_chain_that_fails_leaves_everything_pending(store: Store, node: Accumulation) -> None:
    class Fails(KnownSessions):
        def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
            raise Unavailable("no node")

    publish_relays(store, 1, range(3))
    for _ in range(DEAD_AFTER + 2):
        with pytest.raises(Unavailable):
            accumulate(SUPPLIER, replace(node, lookup=Fails()))
    assert accumulate(SUPPLIER, node).fates == {Fate.NEW: 3}


def test_one_process_of_a_node_at_a_time(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(3))
    with supplier_lock(node.lock_dir, SUPPLIER) as held:
        assert held and accumulate(SUPPLIER, node).busy
    assert accumulate(SUPPLIER, node).fates == {Fate.NEW: 3}


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
    lookup = _Interferes(KnownSessions.of(1), lambda: publish_relays(store, 1, [7]))
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
