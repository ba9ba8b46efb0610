"""Several nodes' CometBFT RPC as one: the first that has the answer gives it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pocket_chain.node import BlockResults, CometNode, CommittedTransaction
from pocket_chain.node_errors import BlockPruned, NodeUnavailable
from pocket_protocol.recently_used import RecentlyUsed
from pocket_protocol.types import BlockPosition

KEPT_RESULTS: Final = 2  # blocks; one that settles hundreds of claims is large
AVOID_SILENT_NODE_S: Final = 10.0
SILENT: Final = "TRANSPORT"  # the code of a node that could not be reached, or did not answer in time

Answer = TypeVar("Answer")


class CometNodes:
    """Asks `nodes` in their order. All methods raise a node's `NodeUnavailable` when none answers.

    `BlockPruned` only when every node says so: another one may be back soon. One that does not answer is asked last for
    ten seconds: each question would wait for it, and hundreds of suppliers have several at each block.
    """

    def __init__(
        self, nodes: Sequence[CometNode], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._nodes = tuple(nodes)
        self._monotonic = monotonic
        self._avoided_until: dict[CometNode, float] = {}
        self._results: RecentlyUsed[int, BlockResults] = RecentlyUsed(KEPT_RESULTS)

    def block(self, height: int) -> BlockPosition:
        """Return the position of a past block."""
        return self._first(lambda node: node.block(height))

    def block_results(self, height: int) -> BlockResults:
        """Return what happened in a past block; the last ones are kept, since many sessions settle in one."""
        known = self._results.get(height)
        if known is None:
            known = self._first(lambda node: node.block_results(height))
            self._results.put(height, known)
        return known

    def transaction(self, tx_hash: str) -> CommittedTransaction | None:
        """Return a transaction that is in a block; None when no node that answers has it: one may be behind."""
        failure: NodeUnavailable | None = None
        answered = False
        for node in self._in_order():
            if answered and self._is_avoided(node):
                break
            try:
                found = node.transaction(tx_hash)
            except NodeUnavailable as error:
                self._note(node, error)
                failure = failure or error
                continue
            if found is not None:
                return found
            answered = True
        if failure is not None and not answered:
            raise failure
        return None

    def _first(self, ask: Callable[[CometNode], Answer]) -> Answer:
        failure: NodeUnavailable | None = None
        for node in self._in_order():
            try:
                return ask(node)
            except NodeUnavailable as error:
                self._note(node, error)
                if failure is None or isinstance(failure, BlockPruned):
                    failure = error
        assert failure is not None
        raise failure

    def _in_order(self) -> list[CometNode]:
        return sorted(self._nodes, key=self._is_avoided)

    def _is_avoided(self, node: CometNode) -> bool:
        return self._avoided_until.get(node, 0.0) > self._monotonic()

    def _note(self, node: CometNode, error: NodeUnavailable) -> None:
        if error.code == SILENT:
            self._avoided_until[node] = self._monotonic() + AVOID_SILENT_NODE_S
