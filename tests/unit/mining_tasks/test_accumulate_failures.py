"""Entries that cannot be used, and failures that are not the entry's fault."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mining_tasks.accumulate import Accumulation, accumulate
from mining_tasks.judgement import Fate
from mining_tasks.session_facts import SessionFacts
from pocket_protocol.errors import Unavailable
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from relay_store.connection import Store
from relay_store.dead import KILLS_WORKER, Requeued, dead_letters, requeue
from relay_store.relay_stream import DEAD_AFTER, stream_length
from relay_store.sessions import Sessions
from relay_store.store_errors import StoreFull, StoreRefused
from tests.crashes import CRASHED, crash_at_store_call
from tests.mined_relays import (
    KEYS,
    SUPPLIER,
    KnownSessions,
    entry_of,
    header_of,
    publish,
    publish_relays,
    relay_bytes,
)
from tests.unit.mining_tasks.accumulations import assert_exact, assert_ledger, leaves_of


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


def test_a_chain_that_fails_leaves_everything_pending(store: Store, node: Accumulation) -> None:
    class Fails(KnownSessions):
        def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
            raise Unavailable("no node")

    publish_relays(store, 1, range(3))
    for _ in range(DEAD_AFTER + 2):
        with pytest.raises(Unavailable):
            accumulate(SUPPLIER, replace(node, lookup=Fails()))
    assert accumulate(SUPPLIER, node).fates == {Fate.NEW: 3}
