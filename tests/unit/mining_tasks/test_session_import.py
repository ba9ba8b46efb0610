"""Open sessions of a real reference deployment taken over: our roots are the ones its miner claimed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mining_tasks.accumulate import Accumulation, accumulate, reclaim
from mining_tasks.config import MinerConfig
from mining_tasks.judgement import Fate
from mining_tasks.leases import Leases
from mining_tasks.metrics import MinerMetrics
from mining_tasks.reference_sessions import ReferenceSessions
from mining_tasks.seal import read_sealed_session, seal_session
from mining_tasks.session_facts import SessionFacts
from mining_tasks.session_import import ALREADY, IMPORTED, OVER, ForeignMinerAlive, Import, SessionImport
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.types import ComputeUnits, Height
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.lease import StoreLease
from relay_store.relay_stream import stream_length
from relay_store.session_state import SessionState
from relay_store.sessions import Sessions
from tests.mined_relays import windows_of
from tests.recorded import needs_recordings
from tests.reference_dumps import load_dump, recorded_claims

pytestmark = needs_recordings
KEYS = Keys()
FIRST = "pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj"
SECOND = "pokt1re27pw4llwnatx4sq7rlggqzcm6j3f39epq2wa"
CLAIMS_AT = 703


@dataclass
class AnySession:
    """A `SessionLookup` that has every session, at the recorded prices of the services."""

    def facts(self, supplier: str, header: SessionHeader) -> SessionFacts:
        cupr = ComputeUnits(100 if header.service_id == "anvil" else 1000)
        return SessionFacts(header, windows_of(header), cupr, BASE_TARGET)

    def height(self) -> Height:
        return Height(701)


@pytest.fixture
def node(store: Store, tmp_path: Path) -> Iterator[Accumulation]:
    lease = StoreLease(store, ttl_ms=600_000)
    for supplier in (FIRST, SECOND):
        lease.acquire(KEYS.supplier_lease(supplier), "me")
    yield Accumulation(store, KEYS, "me", AnySession(), tmp_path)


def dumped(store: Store, name: str) -> None:
    """Load a dump of a deployment whose miner has been stopped since."""
    load_dump(store, name)
    for key in store.client.scan_iter("ha:miner:instance:*"):
        store.client.delete(key)


def run(store: Store, supplier: str, **options: Any) -> dict[str, Import]:
    return {row.session: row for row in SessionImport(store, KEYS, supplier, **options).run()}


def open_ones(rows: dict[str, Import]) -> dict[str, Import]:
    return {session: row for session, row in rows.items() if row.result != OVER}


def everything(store: Store) -> dict[bytes, Any]:
    read = {
        b"string": store.client.get,
        b"hash": store.client.hgetall,
        b"set": store.client.smembers,
        b"stream": store.client.xrange,
        b"zset": lambda key: store.client.zrange(key, 0, -1, withscores=True),
    }
    return {key: read[store.client.type(key)](key) for key in store.client.scan_iter("*")}


@pytest.mark.parametrize("supplier", [FIRST, SECOND])
def test_open_trees_get_the_roots_that_were_claimed_two_blocks_later(
    store: Store, node: Accumulation, supplier: str
) -> None:
    dumped(store, "2x-height-701")
    rows = open_ones(run(store, supplier))
    accumulate(supplier, node)
    claims = {
        session: root for (owner, session), root in recorded_claims(CLAIMS_AT).items() if owner == supplier
    }
    assert set(rows) == set(claims) and claims
    for session, root in claims.items():
        assert (rows[session].state, rows[session].result) == ("active", IMPORTED)
        assert seal_session(supplier, session, node).root.to_bytes() == root


@pytest.mark.parametrize("supplier", [FIRST, SECOND])
@pytest.mark.parametrize("dump", ["2x-height-702", "2x-height-704"])
def test_claimed_trees_are_rebuilt_to_the_root_on_the_chain(
    store: Store, node: Accumulation, supplier: str, dump: str
) -> None:
    dumped(store, dump)
    rows = open_ones(run(store, supplier))
    claims = {
        session: root for (owner, session), root in recorded_claims(CLAIMS_AT).items() if owner == supplier
    }
    assert {session: bytes.fromhex(row.root) for session, row in rows.items()} == claims
    sessions = Sessions(store, KEYS, supplier)
    assert {session for session, _ in sessions.listed()} == set(claims)
    for session, root in claims.items():
        sealed = read_sealed_session(supplier, session, node)
        assert sealed.root.to_bytes() == root
        assert sealed.record.state is SessionState.CLAIMED
        assert sealed.record.counters["leaves"] == sealed.root.count == rows[session].leaves
        assert store.client.ttl(KEYS.leaves(supplier, session)) > 0
    assert sessions.totals() == {"leaves": sum(row.leaves for row in rows.values())}


def test_finished_sessions_are_left_alone(store: Store) -> None:
    dumped(store, "2x-height-706")
    rows = run(store, FIRST)
    assert rows and {row.result for row in rows.values()} == {OVER}
    assert not list(store.client.scan_iter("pm:*:session"))


@pytest.mark.parametrize("dump", ["2x-height-701", "2x-height-704"])
def test_a_second_run_changes_nothing(store: Store, node: Accumulation, dump: str) -> None:
    dumped(store, dump)
    first = open_ones(run(store, FIRST))
    accumulate(FIRST, node)
    before = everything(store)
    second = open_ones(run(store, FIRST))
    assert {row.result for row in second.values()} == {ALREADY}
    assert {s: row.leaves for s, row in second.items()} == {s: row.leaves for s, row in first.items()}
    after = everything(store)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert all(key.endswith((b":epoch", b":lease")) for key in changed)


def test_what_ended_with_us_is_not_published_again(store: Store, node: Accumulation) -> None:
    """The reference's record of it stays open for hours; its leaves are gone from our tree."""
    dumped(store, "2x-height-701")
    opened = open_ones(run(store, FIRST))
    accumulate(FIRST, node)
    sessions = Sessions(store, KEYS, FIRST)
    for session in opened:
        assert sessions.transition(session, SessionState.ACTIVE, SessionState.PROVED, token="me")
        assert sessions.retire(session, token="me")
    assert {row.result for row in run(store, FIRST).values()} == {OVER}
    assert stream_length(store, KEYS, FIRST) == 0


@pytest.mark.parametrize("dump", ["2x-height-701", "2x-height-704"])
def test_a_dry_run_writes_nothing_and_says_the_same(store: Store, dump: str) -> None:
    dumped(store, dump)
    before = everything(store)
    tried = run(store, FIRST, dry_run=True)
    assert everything(store) == before
    assert run(store, FIRST) == tried


def test_relays_of_the_same_session_that_came_to_us_are_kept(store: Store, node: Accumulation) -> None:
    """A tree of ours that already has some of the leaves gets the others, once."""
    dumped(store, "10-mid-session")
    run(store, FIRST)
    assert accumulate(FIRST, node).fates[Fate.NEW]
    dumped(store, "2x-height-701")
    rows = open_ones(run(store, FIRST))
    assert any(0 < row.new < row.leaves for row in rows.values())
    assert set(accumulate(FIRST, node).fates) == {Fate.NEW}
    for (supplier, session), root in recorded_claims(CLAIMS_AT).items():
        if supplier == FIRST:
            assert seal_session(FIRST, session, node).root.to_bytes() == root


def test_nothing_is_taken_from_a_miner_that_lives(store: Store) -> None:
    load_dump(store, "2x-height-704")
    before = everything(store)
    with pytest.raises(ForeignMinerAlive, match="miner-vm"):
        run(store, FIRST)
    assert everything(store) == before


def test_our_nodes_leave_its_suppliers_alone_while_it_lives(store: Store) -> None:
    load_dump(store, "2x-height-704")

    def node(mixed_fleet: bool) -> Leases:
        extensions = replace(MinerConfig().extensions, mixed_fleet=mixed_fleet)
        config = replace(MinerConfig(), extensions=extensions)
        metrics = MinerMetrics(CollectorRegistry())
        leases = Leases(config, store, KEYS, token="t", name="ours", metrics=metrics)
        leases.renew()
        leases.look_for_miners()
        return leases

    assert not node(mixed_fleet=False).acquire("pokt1other")
    assert not node(mixed_fleet=True).acquire(FIRST)
    assert node(mixed_fleet=True).acquire("pokt1other")
    (instance,) = (key for key in store.client.scan_iter("ha:miner:instance:*") if b"ours" not in key)
    store.client.delete(instance, KEYS.miner_claim(FIRST))
    assert node(mixed_fleet=False).acquire(FIRST)
    assert store.client.get(KEYS.miner_claim(FIRST)) == b"ours"


def test_a_damaged_tree_is_named_and_the_others_are_taken(store: Store, node: Accumulation) -> None:
    dumped(store, "2x-height-704")
    claims = [session for owner, session in recorded_claims(CLAIMS_AT) if owner == FIRST]
    missing, wrong = sorted(claims)[:2]
    root = store.client.get(KEYS.smst(FIRST, missing, "root")).hex()
    store.client.hdel(KEYS.smst(FIRST, missing, "nodes"), root)
    root, nodes = store.client.get(KEYS.smst(FIRST, wrong, "root")).hex(), KEYS.smst(FIRST, wrong, "nodes")
    encoding = store.client.hget(nodes, root)
    store.client.hset(nodes, root, encoding[:60] + bytes([encoding[60] ^ 1]) + encoding[61:])
    rows = run(store, FIRST)
    assert "missing" in rows[missing].result and "not a node" in rows[wrong].result
    assert {session for session, _ in Sessions(store, KEYS, FIRST).listed()} == set(claims) - {missing, wrong}


def test_a_claimed_session_beside_another_tree_of_ours_is_refused(store: Store, node: Accumulation) -> None:
    dumped(store, "10-mid-session")
    for session in open_ones(run(store, FIRST)):
        accumulate(FIRST, node)
        seal_session(FIRST, session, node)
    dumped(store, "2x-height-704")
    before = everything(store)
    rows = open_ones(run(store, FIRST))
    assert all("another tree" in row.result for row in rows.values()) and rows
    assert everything(store) == before


def test_the_older_form_of_a_record_is_read(store: Store) -> None:
    dumped(store, "2x-height-704")
    theirs = ReferenceSessions(store, KEYS)
    session = next(one for one in theirs.listed(SECOND) if theirs.read(SECOND, one).is_claimed)  # type: ignore[union-attr]
    read = theirs.read(SECOND, session)
    key = KEYS.reference_session(SECOND, session)
    raw = {name.decode(): value for name, value in store.client.hgetall(key).items()}
    document = {name: value.decode() for name, value in raw.items() if name != "claimed_root_hash"}
    document["claimed_root_hash"] = base64.b64encode(raw["claimed_root_hash"]).decode()
    store.client.set(key, json.dumps(document))
    store.client.delete(KEYS.smst(SECOND, session, "root"))
    assert theirs.read(SECOND, session) == read
    for rubbish in (
        "",
        "{",
        "[1]",
        '{"state": "active"}',
        json.dumps({**document, "claimed_root_hash": "?"}),
    ):
        store.client.set(key, rubbish)
        assert "cannot be read" in run(store, SECOND)[session].result


def test_a_stream_of_the_reference_s_relayer_is_drained(store: Store, node: Accumulation) -> None:
    """One of its entries is in the hands of a miner that died."""
    load_dump(store, "11-stream-unconsumed")
    stream = KEYS.relay_stream(FIRST)
    waiting = store.client.xlen(stream)
    assert store.client.xpending(stream, KEYS.consumer_group())["pending"] == 1
    reclaim(FIRST, node)
    assert accumulate(FIRST, node).fates == {Fate.NEW: waiting}
    assert store.client.xlen(stream) == 0
