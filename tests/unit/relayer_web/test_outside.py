"""The height, asked of several nodes at once."""

from __future__ import annotations

import time

import pytest

from pocket_chain.node import CometNode
from pocket_chain.node_errors import NodeUnavailable
from relayer_web.outside import newest_position
from tests.unit.pocket_chain.fake_node import RpcNode, rpc_node


def nodes_of(*servers: RpcNode) -> list[CometNode]:
    return [CometNode(server.url, 5.0, "pocket") for server in servers]


def test_the_highest_counts_whichever_node_comes_first() -> None:
    with rpc_node() as behind, rpc_node() as ahead:
        ahead.grow(5)
        assert newest_position(nodes_of(behind, ahead)).height == 15
        assert newest_position(nodes_of(ahead, behind)).height == 15
        assert newest_position(nodes_of(behind)).height == 10


def test_a_node_that_hangs_is_not_waited_for() -> None:
    with rpc_node() as hanging, rpc_node() as well:
        hanging.hold.clear()
        started = time.monotonic()
        assert newest_position(nodes_of(hanging, well)).height == 10
        assert time.monotonic() - started < 3.0
        hanging.hold.set()


def test_no_answer_is_no_height() -> None:
    with rpc_node() as one, rpc_node() as two:
        for server in (one, two):
            server.status_code, server.raw["status"] = 500, b""
        with pytest.raises(NodeUnavailable):
            newest_position(nodes_of(one, two))
