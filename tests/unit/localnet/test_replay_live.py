"""A real node's two lifecycles of claims and proofs, its transactions put through the local chain again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from localnet.chain import LocalChain
from localnet.fixture import Fixture
from localnet.mining_difficulty import set_difficulty
from localnet.sessions import hydrate
from localnet.state import ACCOUNT
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.pb.cosmos.base.abci import v1beta1_pb2 as abci_pb2
from pocket_protocol.pb.cosmos.tx.v1beta1_pb2 import BroadcastTxResponse
from pocket_protocol.pb.pocket import session_pb2
from pocket_protocol.tx import decode_transaction
from pocket_protocol.wire import encode
from tests.unit.localnet.recordings import (
    CURVE,
    in_order,
    live_genesis,
    pocket_only,
    same_result,
    shown,
    time_ns,
)
from tests.vectors import load

LIVE, LIVE2 = load("chain_live"), load("chain_live2")
APP = "pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4"
S1 = "pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj"
S2 = "pokt1re27pw4llwnatx4sq7rlggqzcm6j3f39epq2wa"
S3 = "pokt1j6dun0x8eyq5mmsmq83zs3c2utt85q8478c89u"
S4 = "pokt1c26hxrnsfc8s53rrx9edrmel73kw3plexhkdtm"
NUMBERS = {APP: 3, S1: 7, S2: 8, S3: 9, S4: 10}
PROOF_1 = {"proof_request_probability": 1.0, "proof_requirement_threshold": 20_000_000}
PROOF_2 = {"proof_request_probability": 0.0, "proof_requirement_threshold": 400_000}


def live_chain() -> LocalChain:
    """The chain of chain_live at height 1151, the first block of its session."""
    fixture = Fixture(
        block_hashes={
            1151: bytes.fromhex(LIVE["block_hash_at_session_start_hex"]),
            LIVE["proof_seed_block_height"]: bytes.fromhex(LIVE["proof_seed_block_hash_hex"]),
        }
    )
    start = time_ns(LIVE["block_json"]["result"]["block"]["header"]["time"])
    genesis = live_genesis(LIVE, NUMBERS, PROOF_1)
    chain = LocalChain(genesis, CURVE, fixture=fixture, now_ns=lambda: start)
    chain.fixture.block_times_ns[1151] = start
    chain.jump_to(1151)
    return chain


def steps_of(live: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["what"]: step for step in live["steps"] if "tx_raw_hex" in step}


def broadcast(chain: LocalChain, step: dict[str, Any]) -> None:
    """Send a recorded transaction and compare the whole answer with the recorded one, as bytes."""
    result = chain.broadcast(bytes.fromhex(step["tx_raw_hex"]))
    assert (result.code, result.codespace) == (step["check_tx_code"], step["codespace"]), result.log
    response = abci_pb2.TxResponse(
        txhash=step["txhash"], code=result.code, codespace=result.codespace, raw_log=result.log
    )
    assert encode(BroadcastTxResponse(tx_response=response)).hex() == step["response_proto_hex"]


def compare_transaction(chain: LocalChain, recorded: dict[str, Any]) -> None:
    """Compare what became of a transaction: all but gas, and events with each attribute."""
    found = chain.find_transaction(recorded["result"]["hash"])
    assert found is not None
    block, index = found
    same_result(block.results[index].to_json(), recorded["result"]["tx_result"])
    assert str(block.height) == recorded["result"]["height"]


def step_to(chain: LocalChain, height: int) -> None:
    if height > chain.height:
        chain.step(height - chain.height)


def test_the_session_is_the_recorded_one() -> None:
    session = hydrate(live_chain().at(), APP, "develop-http", 1151)
    response = session_pb2.QueryGetSessionResponse(session=session)
    assert encode(response).hex() == LIVE["session_response_hex"]


@pytest.mark.parametrize(
    "what",
    [
        "wrong chain id",
        "wrong account number",
        "gas too low for the ante handler",
        "fee above balance",
        "unordered: timeout more than 10 minutes ahead of the block time",
        "unordered: timeout in the past",
        "unordered: no timeout",
    ],
)
def test_check_tx_refuses_as_the_node_did(what: str) -> None:
    chain = live_chain()
    account = chain.at().state.get(ACCOUNT, APP)
    chain.change(lambda context: context.state.put(ACCOUNT, APP, replace(account, sequence=1)))
    broadcast(chain, steps_of(LIVE)[what])


def test_first_lifecycle() -> None:
    """Claims, an update, a failing one, a good and a bad proof, one missing; settled, expired and slashed."""
    chain, steps = live_chain(), steps_of(LIVE)
    chain.change(lambda context: set_difficulty(context, "develop-http", BASE_TARGET, 3, 1))
    step_to(chain, 1162)
    for what in (
        "claim whose sum is not count * compute units (broadcast; fails in the block)",
        "claim supplier2",
        "claim supplier3",
        "claim supplier1",
        "two messages, second fails: whole tx reverts",
        "same unordered tx again (still in the mempool)",
        "different unordered tx, same signer, same timeout_timestamp",
    ):
        broadcast(chain, steps[what])
    step_to(chain, 1164)
    broadcast(chain, steps["claim supplier1 again (update)"])
    step_to(chain, 1170)
    for what in (
        "proof supplier3 (wrong path: accepted by the message handler, invalid in the end blocker)",
        "proof supplier1 (good)",
        "proof without a claim (broadcast)",
    ):
        broadcast(chain, steps[what])
    step_to(chain, LIVE["settlement_height"])
    for recorded in LIVE["tx_results_json"].values():
        compare_transaction(chain, recorded)
    for name, height in (("proof", 1171), ("settlement", 1178)):
        recorded = LIVE[f"block_results_of_{name}_block"]["result"]
        got = chain.block(height).results_json()
        assert in_order(got["finalize_block_events"]) == in_order(recorded["finalize_block_events"])
        assert set(got) == set(recorded)


def test_all_events_of_the_settlement_block_with_the_bank_are_the_recorded_ones() -> None:
    chain = live_chain()
    chain.change(lambda context: set_difficulty(context, "develop-http", BASE_TARGET, 3, 1))
    steps = steps_of(LIVE)
    step_to(chain, 1162)
    for what in ("claim supplier1", "claim supplier2", "claim supplier3"):
        broadcast(chain, steps[what])
    step_to(chain, 1170)
    for step in steps.values():
        if step["what"].startswith("proof supplier"):
            broadcast(chain, step)
    step_to(chain, 1178)
    recorded = LIVE["block_results_of_settlement_block"]["result"]["finalize_block_events"]

    def at_end(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [e for e in events if {"key": "mode", "value": "EndBlock", "index": True} in e["attributes"]]

    assert at_end(shown(chain.block(1178).events)) == at_end(recorded)


def test_second_lifecycle() -> None:
    """First and last blocks of windows, proof not required, overservicing, deflation."""
    fixture = Fixture(
        block_hashes={LIVE2["proof_seed_block_height"]: bytes.fromhex(LIVE2["proof_seed_block_hash_hex"])},
        session_ids={(APP, "develop-http", 51): LIVE2["session_header"]["session_id"]},
    )
    steps = steps_of(LIVE2)
    start = earliest_timeout_ns(steps) - 100 * 10**9
    genesis = live_genesis(LIVE2, NUMBERS, PROOF_2, mint_ratio=0.975)
    chain = LocalChain(genesis, CURVE, fixture=fixture, now_ns=lambda: start)
    chain.jump_to(61)
    broadcast(
        chain,
        steps["claim supplier3 broadcast one block before the window opens (included in the opening block)"],
    )
    step_to(chain, 62)
    broadcast(chain, steps["claim supplier2 (500000 uPOKT, above the threshold)"])
    step_to(chain, 69)
    broadcast(chain, steps["claim supplier1 (300000 uPOKT, below the threshold) sent for the closing block"])
    step_to(chain, 70)
    broadcast(chain, steps["proof that is not required (broadcast)"])
    step_to(chain, 77)
    broadcast(chain, steps["proof supplier2 sent for the closing block"])
    step_to(chain, 78)
    for recorded in LIVE2["tx_results_json"].values():
        compare_transaction(chain, recorded)
    recorded = LIVE2["block_results_of_settlement_block"]["result"]
    got = pocket_only(shown(chain.block(78).events))
    assert got == pocket_only(recorded["finalize_block_events"])


def earliest_timeout_ns(steps: dict[str, dict[str, Any]]) -> int:
    timeouts = [
        decode_transaction(bytes.fromhex(step["tx_raw_hex"])).timeout_timestamp_ns or 0
        for step in steps.values()
        if step["unordered"]
    ]
    return min(timeout for timeout in timeouts if timeout)
