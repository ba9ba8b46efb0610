"""What becomes of relays in the stream: leaves, duplicates, late ones, those below difficulty."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mining_tasks.accumulate import Accumulation, Outcome, accumulate
from mining_tasks.judgement import Fate
from mining_tasks.session_facts import SessionFacts
from pocket_protocol import smst
from pocket_protocol.relay import relay_hash
from relay_store.connection import Store
from relay_store.leaves import Seal
from relay_store.sessions import BACKSTOP_TTL_S, Sessions
from relay_store.ticket import take_tickets
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
from tests.unit.mining_tasks.accumulations import LEASE, LIMITS, assert_exact, assert_ledger, leaves_of


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
