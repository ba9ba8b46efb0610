"""After a long silence the only node may have begun anew: blocks it never had must not hold up those it has."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pocket_chain.blocks import BlockSource
from pocket_chain.node_errors import BlockPruned, NodeUnavailable
from pocket_protocol.types import BlockHash, BlockPosition, Height


class Node:
    """A node that was given the chain's state of block 300, and has the blocks since."""

    lowest, newest = 300, 302
    url = shown_url = "http://node"
    rpc = SimpleNamespace(timeout_s=1.0)

    def block(self, height: int | None = None) -> BlockPosition:
        if height is not None and height < self.lowest:
            raise BlockPruned(code="-32603", lowest_height=Height(self.lowest))
        return BlockPosition(Height(height or self.newest), BlockHash(b"h"), 1)


class Away(Node):
    def block(self, height: int | None = None) -> BlockPosition:
        raise NodeUnavailable(code="TRANSPORT")


def deaf(*_: Any) -> Any:
    raise NodeUnavailable(code="TRANSPORT")


def test_blocks_that_no_node_has_any_more_are_not_waited_for() -> None:
    source = BlockSource([Node()], 30.0, after=20, subscribe=deaf)  # type: ignore[list-item]
    began = time.monotonic()
    blocks = iter(source)
    assert [next(blocks).height for _ in range(3)] == [300, 301, 302]
    assert time.monotonic() - began < 10.0  # 280 blocks, of which each was waited for for 12 s
    assert source.missed_heights == list(range(21, 300))


def test_another_node_that_is_away_may_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    source = BlockSource([Node(), Away()], 0.4, after=298, subscribe=deaf)  # type: ignore[list-item]
    waited: list[float] = []
    monkeypatch.setattr(source._closed, "wait", lambda seconds: waited.append(seconds) or False)
    assert source._fetch(Height(299)) is None
    assert len(waited) == 3
