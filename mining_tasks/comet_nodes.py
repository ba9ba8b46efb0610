"""Several nodes' CometBFT RPC as one: the first that has the answer gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pocket_chain.node import BlockResults, CometNode, CommittedTransaction
from pocket_chain.node_errors import BlockPruned, NodeUnavailable
from pocket_protocol.recently_used import RecentlyUsed
from pocket_protocol.types import BlockPosition

KEPT_RESULTS: Final = 2  # blocks; one that settles hundreds of claims is large

Answer = TypeVar("Answer")


class CometNodes:
    """Asks `nodes` in their order. All methods raise a node's `NodeUnavailable` when none answers.

    `BlockPruned` only when every node says so: another one may be back soon.
    """

    def __init__(self, nodes: Sequence[CometNode]) -> None:
        self._nodes = tuple(nodes)
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
        for node in self._nodes:
            try:
                found = node.transaction(tx_hash)
            except NodeUnavailable as error:
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
        for node in self._nodes:
            try:
                return ask(node)
            except NodeUnavailable as error:
                if failure is None or isinstance(failure, BlockPruned):
                    failure = error
        assert failure is not None
        raise failure
