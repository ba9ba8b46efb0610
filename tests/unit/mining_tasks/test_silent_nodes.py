"""A node whose RPC takes questions and does not answer costs its time-out once, not at each question."""

from __future__ import annotations

from typing import Any, cast

import pytest

from mining_tasks.comet_nodes import CometNodes
from pocket_chain.node import CometNode
from pocket_chain.node_errors import AheadOfNode, NodeUnavailable
from pocket_protocol.types import BlockHash, BlockPosition, Height


class Node:
    def __init__(self, name: str, failure: NodeUnavailable | None = None) -> None:
        self.name, self.failure, self.asked = name, failure, 0

    def block(self, height: int) -> BlockPosition:
        self.asked += 1
        if self.failure:
            raise self.failure
        return BlockPosition(Height(height), BlockHash(b""), 1)

    def transaction(self, tx_hash: str) -> Any:
        self.block(1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def nodes(clock: Clock, *members: Node) -> CometNodes:
    return CometNodes([cast(CometNode, member) for member in members], monotonic=clock)


def test_a_silent_node_is_asked_again_after_ten_seconds() -> None:
    clock, silent, good = Clock(), Node("silent", NodeUnavailable(code="TRANSPORT")), Node("good")
    both = nodes(clock, silent, good)
    for height in range(1, 6):
        assert both.block(height).height == height
        assert both.transaction("00") is None
    assert (silent.asked, good.asked) == (1, 10)
    clock.now = 10.5
    silent.failure = None
    both.block(6)
    assert (silent.asked, good.asked) == (2, 10)


def test_one_that_answers_is_not_avoided_for_what_it_says() -> None:
    behind, good = Node("behind", AheadOfNode(code="-32603")), Node("good")
    both = nodes(Clock(), behind, good)
    both.block(5)
    both.block(5)
    assert behind.asked == 2


def test_when_no_other_answers_it_is_asked_all_the_same() -> None:
    one, other = (Node(name, NodeUnavailable(code="TRANSPORT")) for name in ("one", "other"))
    both = nodes(Clock(), one, other)
    for _ in range(2):
        with pytest.raises(NodeUnavailable):
            both.block(5)
    assert (one.asked, other.asked) == (2, 2)
