"""Sending transactions and finding out what became of them (spec/chain.md §7, decisions.md C3, C6)."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from pocket_chain.grpc_channel import NodeChannels, rpc
from pocket_chain.node import CometNode, CommittedTransaction
from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.errors import Refused
from pocket_protocol.pb.cosmos.tx import v1beta1_pb2 as tx_pb2
from pocket_protocol.tx import tx_hash
from pocket_protocol.tx_answer import Outcome, TxAnswer, classify, classify_text
from pocket_protocol.types import Height

_SIMULATE = rpc(tx_pb2.DESCRIPTOR, "Service", "Simulate")
_BROADCAST = rpc(tx_pb2.DESCRIPTOR, "Service", "BroadcastTx")
# A status that speaks of the transaction, not of the node.
_ABOUT_THE_TRANSACTION = frozenset(
    {grpc.StatusCode.UNKNOWN.name, grpc.StatusCode.INVALID_ARGUMENT.name, grpc.StatusCode.INTERNAL.name}
)


class SimulationFailed(Refused):
    """The transaction would fail in the state of `height`, the answering node's last block; `answer` says how."""

    reason = "simulation_failed"
    summary = "the transaction would fail"

    def __init__(self, answer: TxAnswer, height: Height) -> None:
        super().__init__(answer.text, outcome=answer.outcome.value, height=height)
        self.answer = answer
        self.height = height


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A node's answer to a transaction. `height` is its last committed block's, 0 when it did not say."""

    answer: TxAnswer
    tx_hash: str
    height: Height
    node: str


class Transactions:
    """Simulates and sends through gRPC; finds transactions through `node`'s CometBFT index when there is one."""

    def __init__(self, channels: NodeChannels, node: CometNode | None = None) -> None:
        self._channels = channels
        self._node = node

    def simulate(self, tx_bytes: bytes) -> tuple[int, Height]:
        """Return (gas used, height of the state it ran on) of a signed transaction.

        Raises SimulationFailed when it would fail, NodeUnavailable when the node did not say.
        """
        try:
            seen = self._channels.call(_SIMULATE, tx_pb2.SimulateRequest(tx_bytes=tx_bytes))
        except NodeUnavailable as error:
            if error.code not in _ABOUT_THE_TRANSACTION:
                raise
            raise SimulationFailed(classify_text(error.text), error.height) from None
        return int(seen.value.gas_info.gas_used), seen.height

    def broadcast(self, tx_bytes: bytes, *, sent_before: int = 0) -> Broadcast:
        """Send a signed transaction; the answer is that of the checks before inclusion.

        What was `sent_before` goes to another node each time, if there is one. Raises NodeUnavailable when no answer came: the transaction may or may not be on its way, and the same
        bytes may be sent again.
        """
        request = tx_pb2.BroadcastTxRequest(tx_bytes=tx_bytes, mode=tx_pb2.BROADCAST_MODE_SYNC)
        expected = tx_hash(tx_bytes)
        try:
            seen = self._channels.call(_BROADCAST, request, passed_over=sent_before)
        except NodeUnavailable as error:
            answer = classify_text(error.text)
            if error.code not in _ABOUT_THE_TRANSACTION or answer.outcome is Outcome.UNKNOWN:
                raise
            return Broadcast(answer, expected, error.height, str(error.values.get("node", "")))
        result = seen.value.tx_response
        answer = classify(result.code, result.codespace, result.raw_log)
        return Broadcast(answer, expected, seen.height, seen.node)

    def find(self, transaction_hash: str) -> CommittedTransaction | None:
        """Return the transaction as included in a block; None when the node's index has none.

        Raises NodeUnavailable when the node cannot tell (no CometBFT address, index switched off).
        """
        if self._node is None:
            raise NodeUnavailable("no CometBFT address to ask", code="UNAVAILABLE")
        return self._node.transaction(transaction_hash)
