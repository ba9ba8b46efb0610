from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pocket_protocol import smst
from pocket_protocol.types import ComputeUnits, RelayHash
from relay_store.connection import Store, connect
from relay_store.durability import FSYNC_S, make_durable, takes_time
from relay_store.fence import Fence, open_fence
from relay_store.keys import Keys
from relay_store.lease import StoreLease
from relay_store.leaves import BadSeal, IndexCut, IndexTooLong, Leaf, LeafMissing, Leaves, Seal
from relay_store.probe import probe
from tests.stores import private_server

KEYS, S, SID = Keys(), "pokt1s", "a" * 64


def _leaf(number: int, weight: int = 7) -> Leaf:
    relay = number.to_bytes(4, "big") * 10
    path = smst.path_of(RelayHash(number.to_bytes(32, "big")))
    units = ComputeUnits(weight)
    return Leaf(path, smst.leaf_value(relay, units), smst.leaf_record(path, relay, units))


LEAVES = [_leaf(number) for number in range(20)]
INDEX = b"".join(leaf.record for leaf in LEAVES)


@pytest.fixture
def fence(store: Store) -> Iterator[Fence]:
    StoreLease(store).acquire(KEYS.supplier_lease(S), "me")
    with open_fence(store, KEYS, S, "me") as opened:
        opened.watch()
        yield opened


@pytest.fixture
def leaves(store: Store) -> Leaves:
    return Leaves(store, KEYS, S, SID)


def test_leaves_and_index_grow_together(store: Store, fence: Fence, leaves: Leaves) -> None:
    fence.execute(*leaves.add(LEAVES, index_length=0))
    assert store.client.hlen(leaves.leaves_key) * smst.RECORD_SIZE == store.client.strlen(leaves.index_key)
    assert leaves.read_index(len(INDEX)) == INDEX
    assert leaves.read_index(smst.RECORD_SIZE) == LEAVES[0].record
    assert leaves.fetch(LEAVES[3].path) == LEAVES[3].value
    assert store.client.ttl(leaves.leaves_key) > 0 and store.client.ttl(leaves.index_key) > 0


def test_losses_are_told(fence: Fence, leaves: Leaves) -> None:
    fence.execute(*leaves.add(LEAVES, index_length=0))
    with pytest.raises(IndexCut):
        leaves.read_index(len(INDEX) + 72)
    with pytest.raises(LeafMissing):
        leaves.fetch(_leaf(99).path)
    with pytest.raises(IndexTooLong):
        leaves.add(LEAVES, index_length=512 * 1024 * 1024)


@pytest.mark.parametrize("damage", [b"", INDEX[:-10], INDEX + INDEX, INDEX[72:]])
def test_the_index_is_rebuilt_from_the_leaves(
    store: Store, fence: Fence, leaves: Leaves, damage: bytes
) -> None:
    fence.execute(*leaves.add(LEAVES, index_length=0))
    store.client.set(leaves.index_key, damage)
    fence.watch()
    assert leaves.rebuild(fence)
    assert smst.collapse(store.client.get(leaves.index_key)) == smst.collapse(INDEX)
    assert store.client.strlen(leaves.index_key) == len(INDEX)


def test_a_rebuild_that_was_overtaken_writes_nothing(store: Store, fence: Fence, leaves: Leaves) -> None:
    fence.execute(*leaves.add(LEAVES, index_length=0))
    fence.watch()
    store.client.incr(KEYS.commit(S))
    assert not leaves.rebuild(fence)


def test_removing_leaves_shortens_the_index(store: Store, fence: Fence, leaves: Leaves) -> None:
    fence.execute(*leaves.add(LEAVES, index_length=0))
    fence.watch()
    records = smst.collapse(INDEX)
    fence.execute(*leaves.remove(records, [leaf.path for leaf in LEAVES[5:]]))
    kept = store.client.get(leaves.index_key)
    assert smst.collapse(kept) == smst.collapse(b"".join(leaf.record for leaf in LEAVES[:5]))
    assert store.client.hlen(leaves.leaves_key) == 5
    fence.watch()
    fence.execute(*leaves.remove(smst.collapse(kept), [leaf.path for leaf in LEAVES[:5]]))
    assert not store.client.exists(leaves.leaves_key, leaves.index_key)


def test_the_first_root_stays(leaves: Leaves) -> None:
    assert leaves.read_sealed() == (None, None)
    one, two = smst.Root(bytes(32), 7, 1), smst.Root(bytes(32), 14, 2)
    assert leaves.set_root(one) == one and leaves.set_root(two) == one
    assert leaves.read_sealed() == (None, one)


def test_seal_bytes() -> None:
    assert Seal(720, 10).to_bytes() == bytes.fromhex("00000000000002d0000000000000000a")
    assert Seal.from_bytes(Seal(720, 10).to_bytes()) == Seal(720, 10)
    with pytest.raises(BadSeal):
        Seal.from_bytes(b"x")


def test_durable_once_the_file_is_written(tmp_path: Path) -> None:
    with private_server(tmp_path, appendonly="yes", appendfsync="always") as server:
        store = connect(server.connection_url)
        report, started = probe(store), time.monotonic()
        assert make_durable(store, KEYS, S, report=report, written_at_s=started)
        took_s = time.monotonic() - started
        assert took_s < FSYNC_S / 2 if "WAITAOF" in report.commands else took_s >= FSYNC_S


def test_durable_by_waiting_where_the_server_cannot_be_asked(store: Store) -> None:
    slept: list[float] = []
    options = {"written_at_s": 99.5, "monotonic": lambda: 100.0, "sleep": slept.append}
    report = probe(store)
    assert not make_durable(store, KEYS, S, report=report, **options) and slept == []
    old = type(report)(report.server, (6, 2), frozenset(), True, 0, ())
    assert make_durable(store, KEYS, S, report=old, **options)
    assert slept == [pytest.approx(0.6)]


def test_what_was_written_long_enough_ago_is_not_waited_for(tmp_path: Path) -> None:
    slept: list[float] = []
    with private_server(tmp_path, appendonly="yes") as server:
        store = connect(server.connection_url)
        report = probe(store)
        options = {"written_at_s": 98.8, "monotonic": lambda: 100.0, "sleep": slept.append}
        assert make_durable(store, KEYS, S, report=report, **options)
        assert slept == [] and not store.client.exists(KEYS.commit(S))
        assert takes_time(report) and not takes_time(replace(report, replicas=1))
        assert not takes_time(replace(report, aof=False))
