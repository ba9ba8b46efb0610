from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mining_tasks.accumulate import Accumulation, accumulate
from mining_tasks.judgement import Fate
from mining_tasks.seal import (
    Drain,
    FactsUnknown,
    NoSuchSession,
    RootDiffers,
    SessionOver,
    drain,
    last_drain_height,
    read_sealed_session,
    seal_session,
)
from mining_tasks.session_facts import SessionFacts
from pocket_protocol import proving, smst
from pocket_protocol.closest_proof import verify_strict
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.errors import PocketError
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.relay import relay_hash
from pocket_protocol.session import HeaderMismatch
from pocket_protocol.types import Path as TreePath
from relay_store.connection import Store
from relay_store.fence import NotOwner
from relay_store.leaves import IndexCut, LeafMissing, Leaves, Seal
from relay_store.relay_stream import stream_length
from relay_store.sessions import Sessions
from tests.crashes import CRASHED, FINISHED, Moment, crash_at_store_call, kill_after
from tests.mined_relays import (
    CUPR,
    KEYS,
    SUPPLIER,
    KnownSessions,
    expected_root,
    header_of,
    publish_relays,
    relay_bytes,
    windows_of,
    without_buried,
)
from tests.unit.mining_tasks.accumulations import LIMITS, assert_ledger, node_on

SID = header_of(1).session_id


@pytest.fixture
def leaves(store: Store) -> Leaves:
    return Leaves(store, KEYS, SUPPLIER, SID)


def _accumulated(store: Store, node: Accumulation, count: int = 20) -> None:
    publish_relays(store, 1, range(count))
    accumulate(SUPPLIER, node)


def _without_chain(node: Accumulation) -> Accumulation:
    return replace(node, lookup=KnownSessions({1: None}))


def test_the_root_is_that_of_the_relays(store: Store, node: Accumulation, leaves: Leaves) -> None:
    _accumulated(store, node)
    sealed = seal_session(SUPPLIER, SID, node)
    assert sealed.root == expected_root(1, range(20))
    assert (sealed.root.count, sealed.root.sum) == (20, 20 * CUPR) and not sealed.is_empty
    assert leaves.read_sealed() == (Seal(20 * 72, 20), sealed.root)
    for key in (leaves.seal_key, leaves.root_key):
        assert store.client.ttl(key) > 0


def test_sealing_again_changes_nothing(store: Store, node: Accumulation) -> None:
    _accumulated(store, node)
    first = seal_session(SUPPLIER, SID, node)
    commits = store.client.get(KEYS.commit(SUPPLIER))
    assert seal_session(SUPPLIER, SID, _without_chain(node)).root == first.root
    assert read_sealed_session(SUPPLIER, SID, node).root == first.root
    assert store.client.get(KEYS.commit(SUPPLIER)) == commits


def test_later_relays_do_not_move_the_root(store: Store, node: Accumulation, leaves: Leaves) -> None:
    _accumulated(store, node)
    first = seal_session(SUPPLIER, SID, node)
    publish_relays(store, 1, range(20, 25))
    assert accumulate(SUPPLIER, node).fates == {Fate.LATE: 5}
    stray = smst.leaf_record(smst.path_of(relay_hash(b"x")), b"x", CUPR)
    store.client.append(leaves.index_key, stray)  # even a stray append
    store.client.delete(leaves.root_key)
    assert seal_session(SUPPLIER, SID, node).root == first.root


def test_proofs_come_from_a_sealed_session(store: Store, node: Accumulation, leaves: Leaves) -> None:
    publish_relays(store, 1, range(10))
    accumulate(SUPPLIER, _without_chain(node))
    publish_relays(store, 1, range(10, 20))
    accumulate(SUPPLIER, node)
    sealed = seal_session(SUPPLIER, SID, node)
    chance = random.Random(1)
    for _ in range(20):
        path = TreePath(chance.randbytes(32))
        assert verify_strict(
            proving.prove_closest(sealed.records, path, leaves.fetch), sealed.root.to_bytes()
        )


def test_leaves_of_unknown_weight_get_the_sessions(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(10))
    accumulate(SUPPLIER, _without_chain(node))
    publish_relays(store, 1, range(5, 20))
    accumulate(SUPPLIER, node)
    with pytest.raises(FactsUnknown):
        seal_session(SUPPLIER, SID, _without_chain(node))
    assert seal_session(SUPPLIER, SID, node).root == expected_root(1, range(20))
    record = Sessions(store, KEYS, SUPPLIER).read(SID)
    assert record is not None
    assert (record.snapshot.cupr, record.snapshot.claim_close) == (CUPR, 30), "known from the seal on"


def test_unchecked_leaves_below_difficulty_are_taken_out(store: Store, node: Accumulation) -> None:
    target = bytes([128]) + bytes(31)
    good = [n for n in range(40) if relay_hash(relay_bytes(header_of(1), n)) < target]
    publish_relays(store, 1, range(40))
    accumulate(SUPPLIER, _without_chain(node))
    sealed = seal_session(SUPPLIER, SID, replace(node, lookup=KnownSessions.of(1, target=target)))
    assert sealed.root == expected_root(1, good)
    assert assert_ledger(store, 40) == {"leaves": len(good), "below": 40 - len(good)}
    assert sealed.record.counters["leaves"] == len(good)


@pytest.mark.parametrize(
    "facts",
    [None, SessionFacts(header_of(1)), SessionFacts(header_of(1), windows_of(header_of(1)), CUPR)],
    ids=["nothing", "header", "no target"],
)
def test_no_claim_without_the_chains_facts(
    store: Store, node: Accumulation, leaves: Leaves, facts: SessionFacts | None
) -> None:
    _accumulated(store, node)
    with pytest.raises(FactsUnknown):
        seal_session(SUPPLIER, SID, replace(node, lookup=KnownSessions({1: facts})))
    assert leaves.read_sealed() == (None, None)


def test_a_session_the_chain_does_not_have_is_not_claimed(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(3))
    accumulate(SUPPLIER, _without_chain(node))
    other = SessionHeader()
    other.CopyFrom(header_of(1))
    other.session_id = "f" * 64
    known = KnownSessions({1: SessionFacts(other, windows_of(other), CUPR, BASE_TARGET)})
    with pytest.raises(HeaderMismatch):
        seal_session(SUPPLIER, SID, replace(node, lookup=known))


def test_unknown_and_finished_sessions_are_refused(store: Store, node: Accumulation) -> None:
    with pytest.raises(NoSuchSession):
        seal_session(SUPPLIER, SID, node)
    _accumulated(store, node)
    store.client.hset(KEYS.session(SUPPLIER, SID), "state", "claim_window_closed")
    with pytest.raises(SessionOver):
        seal_session(SUPPLIER, SID, node)


def test_not_the_owner_does_not_seal(store: Store, node: Accumulation, leaves: Leaves) -> None:
    _accumulated(store, node)
    with pytest.raises(NotOwner):
        seal_session(SUPPLIER, SID, replace(node, token="other"))
    assert leaves.read_sealed() == (None, None)


def test_of_two_that_seal_at_once_the_first_counts(
    store: Store, node: Accumulation, leaves: Leaves, monkeypatch: pytest.MonkeyPatch
) -> None:
    _accumulated(store, node)
    read_index = Leaves.read_index

    def overtaken(self: Leaves, length: int) -> bytes:
        store.client.set(leaves.seal_key, Seal(216, 3).to_bytes(), nx=True)
        return read_index(self, length)

    monkeypatch.setattr(Leaves, "read_index", overtaken)
    assert seal_session(SUPPLIER, SID, node).root.count == 3


@pytest.mark.parametrize("damage", ["gone", "cut", "doubled", "half a record"])
def test_a_damaged_index_is_rebuilt_before_the_seal(
    store: Store, node: Accumulation, leaves: Leaves, damage: str
) -> None:
    _accumulated(store, node)
    index = store.client.get(leaves.index_key)
    damaged = {"gone": b"", "cut": index[72:], "doubled": index[:720] * 2, "half a record": index[:-36]}
    store.client.set(leaves.index_key, damaged[damage])
    assert seal_session(SUPPLIER, SID, node).root == expected_root(1, range(20))


def test_losses_after_the_seal_are_told_and_nothing_is_claimed(
    store: Store, node: Accumulation, leaves: Leaves
) -> None:
    publish_relays(store, 1, range(5))
    accumulate(SUPPLIER, _without_chain(node))
    seal_session(SUPPLIER, SID, node)
    store.client.hdel(leaves.leaves_key, store.client.hkeys(leaves.leaves_key)[0])
    with pytest.raises(LeafMissing):
        read_sealed_session(SUPPLIER, SID, node)
    store.client.set(leaves.index_key, store.client.getrange(leaves.index_key, 0, 71))
    with pytest.raises(IndexCut):
        read_sealed_session(SUPPLIER, SID, node)


def test_another_root_than_the_leaves_have_is_told(store: Store, node: Accumulation, leaves: Leaves) -> None:
    _accumulated(store, node)
    leaves.set_root(smst.Root(bytes(32), CUPR, 1))
    with pytest.raises(RootDiffers):
        seal_session(SUPPLIER, SID, node)


def test_a_session_emptied_by_its_difficulty_has_nothing_to_claim(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(3))
    accumulate(SUPPLIER, _without_chain(node))
    hard = KnownSessions.of(1, target=bytes(31) + b"\x01")
    assert seal_session(SUPPLIER, SID, replace(node, lookup=hard)).is_empty


def test_draining_settles_what_is_there_and_reveals_sessions(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(30))
    publish_relays(store, 2, range(30))
    assert drain(SUPPLIER, node, deadline_s=time.monotonic() + 30) is Drain.DONE
    assert [end for _, end in Sessions(store, KEYS, SUPPLIER).listed()] == [20, 30]
    assert drain(SUPPLIER, node, deadline_s=0.0) is Drain.DONE, "an empty stream is drained at once"


def test_draining_ends_at_its_deadline_or_without_ownership(store: Store, node: Accumulation) -> None:
    publish_relays(store, 1, range(30))
    assert drain(SUPPLIER, node, deadline_s=time.monotonic()) is Drain.UNFINISHED
    other = replace(node, token="other")
    assert drain(SUPPLIER, other, deadline_s=time.monotonic() + 30) is Drain.HELD
    assert stream_length(store, KEYS, SUPPLIER) == 30


def test_what_another_consumer_holds_is_not_waited_for(store: Store, node: Accumulation) -> None:
    """A miner of the reference reads one entry more after it gave a supplier up, and drops it."""
    stream, group = KEYS.relay_stream(SUPPLIER), KEYS.consumer_group()
    publish_relays(store, 1, range(3))
    store.client.xgroup_create(stream, group, "0")
    store.client.xreadgroup(group, "miner-go-1", {stream: ">"}, count=1)
    mixed = replace(node, mixed_fleet=True)
    before = time.monotonic()
    assert drain(SUPPLIER, mixed, deadline_s=before + 30) is Drain.HELD
    assert time.monotonic() - before < 5 and stream_length(store, KEYS, SUPPLIER) == 1


@pytest.mark.parametrize(
    ("claim_open", "claim_close", "height"),
    [(22, 30, 28), (22, 42, 40), (22, 26, 25), (22, 23, 22), (22, 22, 22), (22, 25, 24)],
)
def test_the_last_moment_to_drain(claim_open: int, claim_close: int, height: int) -> None:
    assert last_drain_height(claim_open, claim_close) == height


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_crash_at_any_store_call_is_made_good(
    store: Store, tmp_path: Path, leaves: Leaves, moment: Moment, damaged: bool
) -> None:
    expected = expected_root(1, range(12))
    for call in range(1, 100):
        store.client.flushall()
        node = node_on(store, tmp_path / "locks", 1)
        publish_relays(store, 1, range(5))
        accumulate(SUPPLIER, _without_chain(node))
        publish_relays(store, 1, range(5, 12))
        accumulate(SUPPLIER, node)
        if damaged:
            store.client.delete(leaves.index_key)
        ended = crash_at_store_call(call, moment, lambda node=node: seal_session(SUPPLIER, SID, node))
        assert ended in (CRASHED, FINISHED)
        publish_relays(store, 1, range(12, 14) if leaves.read_sealed()[0] else [])
        accumulate(SUPPLIER, node)
        assert seal_session(SUPPLIER, SID, node).root == expected
        if ended == FINISHED:
            break
    assert ended == FINISHED and call > 8


@pytest.mark.parametrize("sessions", [3, pytest.param(11, marks=pytest.mark.stress)])
def test_kills_while_accumulating_and_sealing(store: Store, tmp_path: Path, sessions: int) -> None:
    """Whatever is sealed, however often its workers died, is what was listed as leaves: none lost, none double."""
    chance = random.Random(7)
    numbered = range(1, sessions + 1)
    node = node_on(store, tmp_path / "locks", *numbered, limits=replace(LIMITS, batch_entries=50))

    def work(session: int) -> None:
        accumulate(SUPPLIER, node)
        seal_session(SUPPLIER, header_of(session).session_id, node)

    for session in numbered:
        numbers = [chance.randrange(1000) for _ in range(200)]
        publish_relays(store, session, numbers)
        while kill_after(chance.uniform(0.001, 0.02), lambda session=session: work(session)):
            pass
        work(session)
        sealed = read_sealed_session(SUPPLIER, header_of(session).session_id, node)
        assert sealed.root == expected_root(session, without_buried(store, session, numbers))
    assert_ledger(store, sessions * 200)


def test_refusals_are_leaves_of_the_error_tree() -> None:
    for leaf in (NoSuchSession, SessionOver, FactsUnknown, RootDiffers):
        assert issubclass(leaf, PocketError) and leaf.reason != PocketError.reason
