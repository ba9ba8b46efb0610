"""A node that accumulates, and what a session must hold afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mining_tasks.accumulate import Accumulation, Limits
from mining_tasks.session_facts import SessionFacts
from pocket_protocol import smst
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from relay_store.connection import Store
from relay_store.lease import StoreLease
from relay_store.leaves import Leaves
from relay_store.probe import probe
from relay_store.relay_stream import stream_length
from relay_store.sessions import Sessions
from tests.mined_relays import (
    KEYS,
    SUPPLIER,
    KnownSessions,
    expected_root,
    header_of,
)

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


class Interferes(KnownSessions):
    """Does something in the middle of a batch: after reading, before the transaction."""

    def __init__(self, known: KnownSessions, act: object) -> None:
        super().__init__(known.sessions)
        self.act = act

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts | None:
        act, self.act = self.act, None
        if callable(act):
            act()
        return super().facts(supplier, header)
