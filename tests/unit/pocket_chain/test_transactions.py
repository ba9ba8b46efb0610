"""Sending transactions: what recorded nodes answered, and what no answer means."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from pocket_chain.grpc_channel import GrpcTarget, NodeChannels
from pocket_chain.node import CometNode
from pocket_chain.node_errors import NodeUnavailable
from pocket_chain.transactions import SimulationFailed, Transactions
from pocket_protocol.pb.cosmos.tx import v1beta1_pb2 as tx_pb2
from pocket_protocol.tx import tx_hash
from pocket_protocol.tx_answer import Outcome
from tests import recorded
from tests.unit.pocket_chain.fake_node import GrpcNode, grpc_node, rpc_node

SIMULATE = "/cosmos.tx.v1beta1.Service/Simulate"
BROADCAST = "/cosmos.tx.v1beta1.Service/BroadcastTx"


@pytest.fixture
def transactions(node: GrpcNode) -> Iterator[Transactions]:
    channels = NodeChannels([GrpcTarget(node.target, True)], 2.0)
    yield Transactions(channels)
    channels.close()


@recorded.needs_recordings
def test_recorded_broadcasts(node: GrpcNode, transactions: Transactions) -> None:
    outcomes = set()
    for sample in recorded.load("localnet/grpc/cosmos.tx.v1beta1.Service.BroadcastTx.json")["samples"]:
        request = bytes.fromhex(sample["request_hex"])
        node.by_request[BROADCAST, request] = bytes.fromhex(sample["response_hex"])
        tx_bytes = tx_pb2.BroadcastTxRequest.FromString(request).tx_bytes
        sent = transactions.broadcast(tx_bytes)
        result = sample["response_json"]["tx_response"]
        assert sent.tx_hash == tx_hash(tx_bytes) == result["txhash"]
        assert (sent.answer.outcome is Outcome.ACCEPTED) == (result["code"] == 0)
        assert (sent.height, sent.node) == (100, node.target)
        outcomes.add(sent.answer.outcome)
    assert Outcome.ACCEPTED in outcomes


@recorded.needs_recordings
def test_recorded_simulations(node: GrpcNode, transactions: Transactions) -> None:
    used = failed = 0
    for sample in recorded.load("localnet/grpc/cosmos.tx.v1beta1.Service.Simulate.json")["samples"]:
        request = bytes.fromhex(sample["request_hex"])
        tx_bytes = tx_pb2.SimulateRequest.FromString(request).tx_bytes
        if sample["grpc_code"] == 0:
            node.by_request[SIMULATE, request] = bytes.fromhex(sample["response_hex"])
            gas, height = transactions.simulate(tx_bytes)
            assert (str(gas), height) == (sample["response_json"]["gas_info"]["gas_used"], 100)
            used += 1
        else:
            node.by_request[SIMULATE, request] = (grpc.StatusCode.UNKNOWN, sample["grpc_message"])
            with pytest.raises(SimulationFailed) as caught:
                transactions.simulate(tx_bytes)
            assert (caught.value.answer.outcome, caught.value.height) == (Outcome.TIMED_OUT, 100)
            failed += 1
    assert used > 3 and failed >= 1


def test_a_window_failure_says_which_message_and_at_which_height(
    node: GrpcNode, transactions: Transactions
) -> None:
    node.answers[SIMULATE] = (
        grpc.StatusCode.UNKNOWN,
        "failed to execute message; message index: 2: rpc error: code = FailedPrecondition desc = x: claim attempted"
        " outside of the session's claim window [cosmos/cosmos-sdk@v0.53.7/baseapp/baseapp.go:1052] with gas used: '9'",
    )
    with pytest.raises(SimulationFailed) as caught:
        transactions.simulate(b"tx")
    answer = caught.value.answer
    assert (answer.outcome, answer.message_index) == (Outcome.OUTSIDE_CLAIM_WINDOW, 2)


@pytest.mark.parametrize(
    ("code", "codespace", "text", "outcome"),
    [
        (19, "sdk", "", Outcome.ALREADY_KNOWN),
        (18, "sdk", "failed to add unordered nonce: sender x has already used timeout 5: invalid request", Outcome.TIMEOUT_USED),
        (42, "sdk", "tx timeout", Outcome.TIMED_OUT),
    ],
)  # fmt: skip
def test_refusals_of_the_mempool(
    node: GrpcNode, transactions: Transactions, code: int, codespace: str, text: str, outcome: Outcome
) -> None:
    answer = tx_pb2.BroadcastTxResponse()
    answer.tx_response.code, answer.tx_response.codespace, answer.tx_response.raw_log = code, codespace, text
    node.answers[BROADCAST] = answer.SerializeToString()
    assert transactions.broadcast(b"tx").answer.outcome is outcome


def test_a_status_about_the_transaction_is_an_answer(node: GrpcNode, transactions: Transactions) -> None:
    node.answers[BROADCAST] = (grpc.StatusCode.UNKNOWN, "tx already in mempool cache: tx already in mempool")
    sent = transactions.broadcast(b"tx")
    assert (sent.answer.outcome, sent.tx_hash) == (Outcome.ALREADY_KNOWN, tx_hash(b"tx"))


def test_a_status_about_the_node_is_no_answer(node: GrpcNode, transactions: Transactions) -> None:
    for answer in ((grpc.StatusCode.INTERNAL, "panic"), (grpc.StatusCode.UNAVAILABLE, "tx timeout")):
        node.answers[BROADCAST] = node.answers[SIMULATE] = answer
        with pytest.raises(NodeUnavailable):
            transactions.broadcast(b"tx")
    with pytest.raises(NodeUnavailable):
        transactions.simulate(b"tx")


def test_what_is_sent_again_goes_to_another_node(node: GrpcNode) -> None:
    """A node may take a transaction and tell nobody."""
    answer = tx_pb2.BroadcastTxResponse()
    with grpc_node() as second:
        for one in (node, second):
            one.answers[BROADCAST] = answer.SerializeToString()
        channels = NodeChannels([GrpcTarget(one.target, True) for one in (node, second)], 2.0)
        for sent_before, calls in enumerate([(1, 0), (1, 1), (2, 1)]):
            Transactions(channels).broadcast(b"tx", sent_before=sent_before)
            assert (node.calls(BROADCAST), second.calls(BROADCAST)) == calls
        channels.close()


def test_no_answer_in_time(node: GrpcNode) -> None:
    node.answers[BROADCAST] = b""
    node.hold.clear()
    channels = NodeChannels([GrpcTarget(node.target, True)], 0.3)
    with pytest.raises(NodeUnavailable):
        Transactions(channels).broadcast(b"tx")
    channels.close()


def test_finding_needs_an_index(node: GrpcNode, transactions: Transactions) -> None:
    with pytest.raises(NodeUnavailable):
        transactions.find("00" * 32)
    with rpc_node() as rpc:
        text = f"tx ({'00' * 32}) not found"
        rpc.results["tx"] = {"error": {"code": -32603, "message": "Internal error", "data": text}}
        channels = NodeChannels([GrpcTarget(node.target, True)], 1.0)
        assert Transactions(channels, CometNode(rpc.url)).find("00" * 32) is None
        channels.close()
