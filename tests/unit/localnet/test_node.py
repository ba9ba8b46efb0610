"""The node around the chain: admin calls, faults, ledger, journal, and the clock of its blocks."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from localnet.grpc_server import HEIGHT_KEY
from localnet.http_server import AddressTaken
from localnet.node import Addresses, LocalNode, PortTaken
from localnet.node_view import FaultInvalid
from localnet.services import compute_units_per_relay_at
from localnet.sessions import NoSession, hydrate
from localnet.state import BALANCE, SUPPLY
from pocket_protocol.pb.cosmos.tx.v1beta1_pb2 import BroadcastTxRequest
from pocket_protocol.pb.pocket import application_pb2, shared_pb2
from tests.unit.localnet.chains import World, grown_tree

BROADCAST = "/cosmos.tx.v1beta1.Service/BroadcastTx"
PARAMS = "/pocket.shared.Query/Params"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def node(world: World, tmp_path: Path) -> Iterator[LocalNode]:
    with LocalNode(world.chain, journal=tmp_path / "journal.jsonl") as running:
        yield running


def admin(node: LocalNode, route: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"{node.admin_url}{route}", data, timeout=5) as response:
            return json.loads(response.read())  # type: ignore[no-any-return]
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.loads(error.read())}


def rpc(node: LocalNode, method: str) -> dict[str, Any]:
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}).encode()
    with urllib.request.urlopen(node.rpc_url, call, timeout=5) as response:
        return json.loads(response.read())  # type: ignore[no-any-return]


def query(node: LocalNode, method: str, request: bytes = b"") -> tuple[bytes, int]:
    with grpc.insecure_channel(node.grpc.address) as channel:
        answer, done = channel.unary_unary(method).with_call(request, timeout=5)
    return answer, int(dict(done.initial_metadata())[HEIGHT_KEY])


def test_pause_step_and_status(node: LocalNode) -> None:
    assert admin(node, "/step", {"blocks": 5})["result"] == 6
    assert admin(node, "/pause", {}) == {"ok": True, "result": None}
    status = admin(node, "/status")
    assert (status["height"], status["paused"], status["grpc"]) == (6, True, node.grpc.address)
    page = urllib.request.urlopen(node.admin_url, timeout=5).read().decode()
    assert "Local Pocket chain" in page and "POST /step" in page
    assert admin(node, "/step", {"blocks": 0})["status"] == 400
    assert admin(node, "/nothing", {})["status"] == 404


def test_blocks_come_with_time_and_stop_when_paused(world: World) -> None:
    blocks = threading.Semaphore(0)
    world.chain.on_block.append(lambda block: blocks.release())
    with LocalNode(world.chain, block_time_s=0.01) as node:
        for _ in range(3):
            assert blocks.acquire(timeout=5)
        node.pause()
        node.set_block_time(0)
        height = world.chain.step().height
        assert world.chain.height == height


def test_a_lagging_node_shows_an_older_state_and_takes_transactions(world: World, node: LocalNode) -> None:
    world.to(20)
    admin(node, "/faults", {"lag_blocks": 6})
    assert rpc(node, "status")["result"]["sync_info"]["latest_block_height"] == "14"
    assert query(node, PARAMS)[1] == 14
    tx_bytes = world.transaction("supplier1", grown_tree(world).claim())
    query(node, BROADCAST, BroadcastTxRequest(tx_bytes=tx_bytes, mode=2).SerializeToString())
    assert len(world.chain.waiting) == 1
    admin(node, "/faults", {"lag_blocks": 0})
    assert query(node, PARAMS)[1] == 20


def test_refusing_and_losing_answers(world: World, node: LocalNode) -> None:
    admin(node, "/faults", {"refuse_methods": ["/pocket.shared.*", "block"]})
    with pytest.raises(grpc.RpcError) as refused:
        query(node, PARAMS)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert rpc(node, "block")["error"]["code"] == -32603
    assert "result" in rpc(node, "status")
    admin(node, "/faults", {"refuse_methods": [], "lose_answers": 1})
    tx_bytes = world.transaction("supplier1", grown_tree(world).claim())
    request = BroadcastTxRequest(tx_bytes=tx_bytes, mode=2).SerializeToString()
    with pytest.raises(grpc.RpcError):
        query(node, BROADCAST, request)
    assert len(world.chain.waiting) == 1  # it was taken all the same
    query(node, BROADCAST, request)
    with pytest.raises(FaultInvalid):
        node.view.set_faults({"lag_blocks": "many"})


def test_a_slow_method_waits_and_stopping_wakes_it(world: World) -> None:
    node = LocalNode(world.chain).start()
    node.view.set_faults({"slow_s": 60.0, "slow_methods": ["status"]})
    assert "result" in rpc(node, "health")
    waiting = threading.Thread(target=lambda: node.view.admit("status"))
    waiting.start()
    node.stop()
    waiting.join(5)
    assert not waiting.is_alive()


def test_mempool_hold_and_drop(world: World, node: LocalNode) -> None:
    world.to(world.windows().claim_open - 1)
    admin(node, "/mempool", {"hold": True})
    tree = grown_tree(world)
    tx_bytes = world.transaction("supplier1", tree.claim())
    assert world.chain.broadcast(tx_bytes).code == 0
    assert world.chain.step().txs == ()
    admin(node, "/mempool", {"hold": False})
    assert world.chain.step().txs == (tx_bytes,)
    other = world.transaction("supplier2", grown_tree(world, "supplier2").claim())
    assert world.chain.broadcast(other).code == 0
    assert admin(node, "/mempool", {"drop": True})["result"] == 1
    assert world.chain.step().txs == ()


def test_clock_offset(world: World, node: LocalNode) -> None:
    before = world.chain.step().time_ns
    admin(node, "/clock", {"offset_s": 3600})
    assert world.chain.step().time_ns - before > 3600 * 10**9


def test_parameters_change_by_their_histories(world: World, node: LocalNode) -> None:
    world.to(5)
    assert admin(node, "/params", {"module": "shared", "values": {"num_blocks_per_session": 20}})["ok"]
    answer = shared_pb2.QueryParamsResponse.FromString(query(node, PARAMS)[0])
    assert answer.params.num_blocks_per_session == 10  # until the next session
    world.to(11)
    answer = shared_pb2.QueryParamsResponse.FromString(query(node, PARAMS)[0])
    assert (answer.params.num_blocks_per_session, answer.params.session_grid_anchor_height) == (20, 11)
    assert (
        hydrate(world.chain.at(), world.address("app1"), "develop-http", 11).header.session_end_block_height
        == 30
    )
    admin(node, "/params", {"module": "proof", "values": {"proof_submission_fee": 5}})
    assert world.chain.at().params("proof").proof_submission_fee.amount == "5"
    assert admin(node, "/params", {"module": "proof", "values": {"nonsense": 5}})["status"] == 400
    assert (
        admin(node, "/params", {"module": "shared", "values": {"num_blocks_per_session": 0}})["status"] == 400
    )


def test_stakes_and_delegations_change(world: World, node: LocalNode) -> None:
    world.to(5)
    app, gateway = world.address("app1"), world.address("gateway1")
    admin(node, "/application", {"address": app, "undelegate": gateway, "stake_upokt": 200_000_000})
    request = application_pb2.QueryGetApplicationRequest(address=app).SerializeToString()
    answer, _ = query(node, "/pocket.application.Query/Application", request)
    found = application_pb2.QueryGetApplicationResponse.FromString(answer).application
    assert list(found.pending_undelegations[10].gateway_addresses) == [gateway]
    assert found.stake.amount == "200000000"
    assert admin(node, "/application", {"address": app, "undelegate": gateway})["status"] == 400
    admin(node, "/application", {"address": app, "delegate": gateway})
    world.to(40)  # the pending entry is older than grace + two sessions
    assert not world.chain.at().state.get("application", app).pending_undelegations
    admin(node, "/application", {"address": app, "unstake": True})
    world.to(70)  # unbonding ends two sessions after the session of block 41
    assert world.chain.at().state.get("application", app) is None


def test_suppliers_leave_and_come_back_at_session_borders(world: World, node: LocalNode) -> None:
    world.to(5)
    operator, app = world.address("supplier1"), world.address("app1")

    def serving(height: int) -> set[str]:
        session = hydrate(world.chain.at(), app, "develop-http", height)
        return {supplier.operator_address for supplier in session.suppliers}

    admin(node, "/supplier", {"operator": operator, "services": ["develop-rest"]})
    assert operator in serving(5)
    world.to(11)
    assert serving(11) == {world.address("supplier2")}
    assert operator in serving(10)
    admin(node, "/supplier", {"operator": world.address("supplier2"), "unstake": True})
    world.to(21)
    with pytest.raises(NoSession, match="no suppliers not found for session"):
        serving(21)


def test_compute_units_change_from_the_next_session(world: World, node: LocalNode) -> None:
    world.to(5)
    admin(node, "/service", {"id": "develop-http", "compute_units_per_relay": 7})
    context = world.chain.at()
    assert [compute_units_per_relay_at(context, "develop-http", h) for h in (1, 10, 11)] == [1000, 1000, 7]


def test_ledger_and_journal(world: World, node: LocalNode, tmp_path: Path) -> None:
    tree = grown_tree(world)
    world.to(11)
    world.deliver("supplier1", tree.claim())
    ledger = admin(node, "/ledger")
    assert [claim["root_hash"] for claim in ledger["open_claims"]] == [tree.root.hex()]
    world.to(19)
    world.deliver("supplier1", tree.proof())
    world.to(28)
    totals = admin(node, "/ledger")["totals"]
    assert (totals["settled"], totals["settled_relays"], totals["settled_upokt"]) == (1, 3, 300_000)
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"block", "tx", "event"}
    settled = [line for line in lines if line.get("type") == "pocket.tokenomics.EventClaimSettled"]
    assert settled[0]["attributes"]["num_relays"] == "3"


def test_the_supply_is_always_the_sum_of_balances_and_the_bonded_stake(world: World) -> None:
    trees = [grown_tree(world, supplier) for supplier in ("supplier1", "supplier2")]
    world.to(11)
    for tree in trees:
        world.deliver(tree.supplier, tree.claim())
    world.to(19)
    world.deliver("supplier1", trees[0].proof())
    world.to(28)  # one settles, one is slashed
    state = world.chain.at().state
    held = sum(upokt for _, upokt in state.items(BALANCE))
    assert held + world.chain.validator.stake_upokt == state.get(SUPPLY, "")


def test_ports_in_use_are_named(world: World, node: LocalNode) -> None:
    for which in ("grpc", "rpc", "admin"):
        address = getattr(node, which).address
        with pytest.raises(PortTaken) as taken:
            LocalNode(world.chain, Addresses(**{which: address}))
        assert taken.value.which == which
        assert isinstance(taken.value, AddressTaken)
