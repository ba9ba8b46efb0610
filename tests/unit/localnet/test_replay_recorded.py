"""The recorded miners' claim and proof transactions (spec/live.md §2, §5), put through the local chain again."""

from __future__ import annotations

from typing import Any

import pytest

from localnet.chain import LocalChain
from localnet.fixture import Fixture
from localnet.grpc_cosmos import get_tx, get_txs_event, simulate
from localnet.grpc_queries import all_claims, claim
from localnet.mining_difficulty import set_difficulty
from localnet.node_view import NodeView
from pocket_protocol.closest_proof import ClosestProof
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.pb.cosmos.tx.v1beta1_pb2 import (
    GetTxRequest,
    GetTxResponse,
    GetTxsEventRequest,
    SimulateRequest,
    SimulateResponse,
)
from pocket_protocol.pb.pocket.proof_pb2 import MsgSubmitProof, QueryAllClaimsRequest, QueryGetClaimRequest
from pocket_protocol.tx import decode_transaction
from pocket_protocol.wire import encode
from tests import recorded
from tests.unit.localnet.recordings import (
    in_order,
    recorded_block_hashes,
    recorded_grpc,
    replay_chain,
    same_result,
    shown,
)

pytestmark = recorded.needs_recordings


def transactions(run: str, first: int, last: int) -> list[dict[str, Any]]:
    txs = recorded.load(f"localnet/chain/txs-{run}.json")
    return [tx for tx in txs if first <= int(tx["height"]) <= last]


def blocks(run: str) -> list[dict[str, Any]]:
    """The heights of a run's blocks and their events."""
    return recorded.load(f"localnet/chain/block-events-{run}.json")  # type: ignore[no-any-return]


def fixture_for(txs: list[dict[str, Any]]) -> Fixture:
    """Session ids from the messages; proof paths from the proofs, where the seed block's hash was not recorded."""
    fixture = Fixture(block_hashes=dict(recorded_block_hashes()))
    for tx in txs:
        for message in decode_transaction(bytes.fromhex(tx["tx_hex"])).messages:
            header = message.session_header  # type: ignore[attr-defined]
            key = (header.application_address, header.service_id, header.session_start_block_height)
            fixture.session_ids[key] = header.session_id
            if isinstance(message, MsgSubmitProof) and header.session_end_block_height != 700:
                fixture.proof_paths[header.session_id] = ClosestProof.from_bytes(message.proof).path
    return fixture


def replay(run: str, first: int, last: int) -> LocalChain:
    """Put the transactions of blocks `first` to `last` into the same blocks."""
    txs = transactions(run, first, last)
    early = min(decode_transaction(bytes.fromhex(tx["tx_hex"])).timeout_timestamp_ns or 0 for tx in txs)
    chain = replay_chain(fixture_for(txs), first - 1, early - 10**9)
    set_first_difficulties(chain, run, first, last + 10)
    for tx in txs:
        if int(tx["height"]) - 1 > chain.height:
            chain.step(int(tx["height"]) - 1 - chain.height)
        result = chain.broadcast(bytes.fromhex(tx["tx_hex"]))
        assert result.code == 0, result.log
    chain.step()
    return chain


def set_first_difficulties(chain: LocalChain, run: str, first: int, last: int) -> None:
    """Give each service the moving average it had before the run's first settlement."""
    averages: dict[str, int] = {}
    for block in blocks(run):
        if not first <= int(block["height"]) <= last:
            continue
        for event in block["events"]:
            values = {a["key"]: a["value"].strip('"') for a in event["attributes"]}
            if event["type"].endswith("EventRelayMiningDifficultyUpdated"):
                averages.setdefault(values["service_id"], int(values["prev_num_relays_ema"]))
    for service_id, average in averages.items():
        chain.change(lambda c, s=service_id, a=average: set_difficulty(c, s, BASE_TARGET, a, 1))


def compare(chain: LocalChain, run: str, first: int, last: int) -> None:
    for tx in transactions(run, first, last):
        found = chain.find_transaction(tx["hash"])
        assert found is not None
        block, index = found
        same_result(block.results[index].to_json(), tx["result"])
        assert block.height == int(tx["height"])
    for block in blocks(run):
        if first <= int(block["height"]) <= chain.height:
            assert in_order(shown(chain.block(int(block["height"])).events)) == in_order(block["events"])


@pytest.mark.parametrize(
    ("run", "first", "last", "settlement"),
    [("670-725", 703, 707, 710), ("670-725", 673, 677, 680), ("810-845", 833, 839, 840)],
    ids=["with the real seed block", "with injected paths", "with a forged relay"],
)
def test_recorded_sessions(run: str, first: int, last: int, settlement: int) -> None:
    """Codes, logs and every event attribute of each transaction, of the judgements and of the settlement."""
    chain = replay(run, first, last)
    chain.step(settlement - chain.height)
    compare(chain, run, first, last)


def test_the_forged_relay_is_judged_invalid_twice_and_slashed() -> None:
    chain = replay("810-845", 833, 839)
    chain.step(840 - chain.height)
    statuses = [
        event.value("failure_reason")
        for height in (837, 839)
        for event in chain.block(height).events
        if event.value("claim_proof_status_int") == "2"
    ]
    assert statuses == ['"invalid relay request signature or bytes: invalid relay request signature"'] * 2
    slashed = [e for e in chain.block(840).events if e.type.endswith("EventSupplierSlashed")]
    assert [e.value("supplier_stake_after_slash") for e in slashed] == ['"99750000upokt"']


def test_a_replayed_transaction_is_known_and_a_stale_one_timed_out() -> None:
    """spec/live.md §3: the same proof again, after its block and after its timeout."""
    chain = replay("670-725", 703, 707)
    tx_bytes = bytes.fromhex(transactions("670-725", 707, 707)[0]["tx_hex"])
    assert chain.broadcast(tx_bytes).code == 19
    chain.now_ns = lambda: 2 * 10**18
    chain.step()
    assert chain.simulate(tx_bytes).code == 42


# --- what the node said about these transactions when asked over gRPC ----------------------------


def grpc_samples(name: str, height: int) -> list[dict[str, Any]]:
    samples = recorded_grpc()[name]["samples"]
    read_at = "x-cosmos-block-height"
    return [s for s in samples if s["grpc_code"] == 0 and s["response_headers"][read_at] == [str(height)]]


@pytest.mark.parametrize(("first", "height"), [(673, 672), (703, 702)])
def test_simulations_are_the_recorded_ones_but_for_gas(first: int, height: int) -> None:
    txs = transactions("670-725", first, first + 4)
    samples = grpc_samples("cosmos.tx.v1beta1.Service.Simulate", height)
    timeout = min(decode_transaction(bytes.fromhex(tx["tx_hex"])).timeout_timestamp_ns or 0 for tx in txs)
    chain = replay_chain(fixture_for(txs), height, timeout - 10**9)
    assert len(samples) == 2
    for sample in samples:
        request = SimulateRequest.FromString(bytes.fromhex(sample["request_hex"]))
        got = simulate(NodeView(chain), request)
        want = SimulateResponse.FromString(bytes.fromhex(sample["response_hex"]))
        assert got.gas_info.gas_wanted == want.gas_info.gas_wanted == 2**64 - 1
        assert abs(got.gas_info.gas_used - want.gas_info.gas_used) < 0.1 * want.gas_info.gas_used
        assert encode(got.result) == encode(want.result)


def test_claims_read_over_grpc_are_the_recorded_ones_to_the_byte() -> None:
    txs = transactions("670-725", 673, 673)
    timeout = min(decode_transaction(bytes.fromhex(tx["tx_hex"])).timeout_timestamp_ns or 0 for tx in txs)
    chain = replay_chain(fixture_for(txs), 672, timeout - 10**9)
    for tx in txs:
        chain.broadcast(bytes.fromhex(tx["tx_hex"]))
    context = NodeView(chain).context(chain.step().height)
    asked = [
        *((claim, QueryGetClaimRequest, s) for s in grpc_samples("pocket.proof.Query.Claim", 676)),
        *((all_claims, QueryAllClaimsRequest, s) for s in grpc_samples("pocket.proof.Query.AllClaims", 673)),
    ]
    assert len(asked) == 8
    for query, request_type, sample in asked:
        request = request_type.FromString(bytes.fromhex(sample["request_hex"]))
        assert encode(query(context, request)).hex() == sample["response_hex"]  # type: ignore[operator]


def test_a_transaction_read_over_grpc_is_the_recorded_one() -> None:
    (sample,) = (
        s for s in recorded_grpc()["cosmos.tx.v1beta1.Service.GetTx"]["samples"] if not s["grpc_code"]
    )
    view = NodeView(replay("670-725", 703, 707))
    got = get_tx(view, GetTxRequest.FromString(bytes.fromhex(sample["request_hex"])))
    want = GetTxResponse.FromString(bytes.fromhex(sample["response_hex"]))
    for response in (got.tx_response, want.tx_response):  # a model, and another clock
        response.ClearField("gas_used")
        response.ClearField("timestamp")
    assert encode(got) == encode(want)
    request = GetTxsEventRequest(query="message.action='/pocket.proof.MsgSubmitProof'", limit=1, order_by=2)
    found = get_txs_event(view, request)
    assert (found.total, found.tx_responses[0].height) == (2, 707)
