"""Whole sessions on a chain node that loses, refuses or lags."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pocket_chain.node_errors import MethodUnimplemented
from relay_store.session_state import SessionState
from tests.miners import Mine


def test_a_lost_answer_is_followed_by_the_same_bytes(mine: Mine) -> None:
    header = mine.serve(20)
    mine.to(13)
    mine.node.view.set_faults({"lose_answers": 1})
    mine.step()
    mine.run_to(19)
    mine.to(20)
    mine.node.view.set_faults({"lose_answers": 1})
    mine.step()
    mine.run_to(29)
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    assert mine.messages() == {"MsgCreateClaim": 1, "MsgSubmitProof": 1}


def test_a_transaction_lost_by_the_node_is_sent_again(mine: Mine) -> None:
    header = mine.serve(20)
    for height in (12, 20):
        mine.run_to(height - 1)
        mine.to(height)
        mine.step()
        assert mine.chain.drop_waiting() == 1
    mine.run_to(29)
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    assert mine.broadcasts() == 4


@pytest.mark.parametrize("first", [12, 13, 20])
def test_a_node_that_refuses_for_a_while_costs_nothing(mine: Mine, first: int) -> None:
    header = mine.serve(20)
    mine.run_to(first - 1)
    rpc = mine.miner.node.block(first - 1)
    mine.node.view.set_faults({"refuse_methods": ["/cosmos*", "/pocket*"]})
    for height in range(first, first + 4):
        mine.world.to(height)
        mine.publisher.publish(replace(rpc, height=height, block_hash=mine.chain.block_hash(height)))
        mine.step()
    mine.node.view.set_faults({"refuse_methods": []})
    mine.step_until_done()
    mine.run_to(29)
    assert mine.text(header, "settlement_outcome") == "settled_proven"


def test_a_node_that_does_not_simulate_costs_half_a_window_and_nothing_else(mine: Mine) -> None:
    header = mine.serve(20)
    mine.node.view.set_faults({"refuse_methods": ["/cosmos.tx.v1beta1.Service/Simulate"]})
    first_sent = 0
    while mine.chain.height < 30:
        mine.run_to(mine.chain.height + 1)
        first_sent = first_sent or (mine.broadcasts() and mine.chain.height)
    windows = mine.world.windows()
    assert first_sent == windows.claim_open + (windows.claim_close - windows.claim_open + 1) // 2
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    assert mine.messages() == {"MsgCreateClaim": 1, "MsgSubmitProof": 1}


def test_a_node_without_simulation_is_not_waited_for(mine: Mine, monkeypatch: pytest.MonkeyPatch) -> None:
    def unimplemented(tx_bytes: bytes) -> tuple[int, int]:
        raise MethodUnimplemented(code="UNIMPLEMENTED")

    monkeypatch.setattr(mine.miner.transactions, "simulate", unimplemented)
    header = mine.serve(20)
    mine.run_to(mine.world.windows().claim_open + 1)
    assert mine.broadcasts() == 1
    mine.run_to(30)
    assert mine.text(header, "settlement_outcome") == "settled_proven"


def test_a_lagging_node_closes_nothing_and_proves_nothing(mine: Mine) -> None:
    header = mine.serve(20)
    mine.run_to(15)
    assert mine.record(header).state is SessionState.CLAIMED
    mine.to(20)
    mine.node.view.set_faults({"lag_blocks": 3})
    mine.step()
    assert mine.broadcasts() == 1  # the claim's
    mine.node.view.set_faults({"lag_blocks": 0})
    mine.run_to(29)
    assert mine.text(header, "settlement_outcome") == "settled_proven"


def test_a_claim_missing_on_a_lagging_node_is_not_lost(mine: Mine) -> None:
    header = mine.serve(20)
    mine.run_to(12)
    mine.to(20)  # the claim is in block 13; this node has only seen 12
    mine.node.view.set_faults({"lag_blocks": 8})
    mine.step()
    assert mine.record(header).state is SessionState.CLAIMING
    mine.node.view.set_faults({"lag_blocks": 0})
    mine.step()
    assert mine.record(header).state is SessionState.CLAIMED
