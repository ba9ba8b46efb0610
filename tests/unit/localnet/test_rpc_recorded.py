"""CometBFT's RPC: recorded requests over a real socket, answers with the same members, errors with the same texts."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from localnet.blocks import BlockId, Header
from localnet.node import LocalNode
from pocket_protocol.tx import tx_hash
from tests.unit.localnet.chains import World, grown_tree
from tests.unit.localnet.recordings import time_ns
from tests.vectors import load

COMETBFT = load("localnet/cometbft")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def node(world: World) -> Iterator[LocalNode]:
    with LocalNode(world.chain) as running:
        yield running


def post(node: LocalNode, method: str, call_id: Any = 1, **params: Any) -> dict[str, Any]:
    call = json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}).encode()
    with urllib.request.urlopen(urllib.request.Request(node.rpc_url, call), timeout=5) as response:
        return json.loads(response.read())  # type: ignore[no-any-return]


def get(node: LocalNode, target: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{node.rpc_url}{target}", timeout=5) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def members(value: Any) -> Any:
    """Return the shape of a JSON value: names and types; of a list, that of its first entry."""
    if isinstance(value, dict):
        return {name: members(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [members(value[0])] if value else []
    return type(value).__name__


def header_of(recorded: dict[str, Any]) -> Header:
    last = recorded["last_block_id"]
    return Header(
        chain_id=recorded["chain_id"],
        height=int(recorded["height"]),
        time_ns=time_ns(recorded["time"]),
        last_block_id=BlockId(bytes.fromhex(last["hash"]), bytes.fromhex(last["parts"]["hash"])),
        last_commit_hash=bytes.fromhex(recorded["last_commit_hash"]),
        data_hash=bytes.fromhex(recorded["data_hash"]),
        validators_hash=bytes.fromhex(recorded["validators_hash"]),
        consensus_hash=bytes.fromhex(recorded["consensus_hash"]),
        app_hash=bytes.fromhex(recorded["app_hash"]),
        last_results_hash=bytes.fromhex(recorded["last_results_hash"]),
        proposer_address=recorded["proposer_address"],
    )


@pytest.mark.parametrize("name", ["block_latest", "block_height"])
def test_block_hashes_are_computed_as_the_network_does(name: str) -> None:
    result = COMETBFT[name]["response"]["result"]
    header = header_of(result["block"]["header"])
    assert header.to_json() == result["block"]["header"]
    assert header.hash().hex().upper() == result["block_id"]["hash"]


@pytest.mark.parametrize("name", ["status", "abci_info", "validators", "health", "block_latest"])
def test_answers_have_the_recorded_members(node: LocalNode, name: str) -> None:
    recorded = COMETBFT[name]
    node.chain.step()
    answer = post(node, recorded["request"]["method"])
    assert members(answer) == members(recorded["response"])


def test_get_answers_have_id_minus_one(node: LocalNode) -> None:
    status, answer = get(node, "/status")
    assert (status, answer["id"]) == (200, -1)
    assert members(answer) == members(COMETBFT["GET_status"]["response"])
    assert get(node, "/block?height=1")[1]["result"]["block"]["header"]["height"] == "1"


def test_call_ids_come_back_whatever_they_are(node: LocalNode) -> None:
    for call_id in (0, "a", 7):
        assert post(node, "health", call_id)["id"] == call_id


def test_block_results_have_the_recorded_members(world: World, node: LocalNode) -> None:
    tree = grown_tree(world)
    world.to(11)
    world.deliver("supplier1", tree.claim())
    empty, full = post(node, "block_results", height="1"), post(node, "block_results", height="12")
    recorded = COMETBFT["block_results_settlement"]["response"]["result"]
    assert set(empty["result"]) == set(recorded)
    assert empty["result"]["txs_results"] is None
    want = COMETBFT["block_results_proof_height"]["response"]["result"]["txs_results"][0]
    assert members(full["result"]["txs_results"][0]) == members(want)


@pytest.mark.parametrize("name", ["block_future", "block_results_future"])
def test_future_heights(node: LocalNode, name: str) -> None:
    recorded = COMETBFT[name]
    answer = post(node, recorded["request"]["method"], **recorded["request"]["params"])
    want = json.loads(json.dumps(recorded["response"]).replace("height 767", "height 1"))
    assert answer == want
    assert get(node, "/block?height=99999999") == (500, {**want, "id": -1})


def test_transactions_by_hash(world: World, node: LocalNode) -> None:
    tree = grown_tree(world)
    world.to(11)
    world.deliver("supplier1", tree.claim())
    block = world.chain.block(12)
    answer = post(node, "block", height="12")
    assert len(answer["result"]["block"]["data"]["txs"]) == 1
    wanted = tx_hash(block.txs[0])
    status, found = get(node, f"/tx?hash=0x{wanted}")
    assert (status, found["result"]["hash"], found["result"]["height"]) == (200, wanted, "12")
    assert members(found["result"]) == members(COMETBFT["tx_by_hash"]["response"]["result"])
    recorded = COMETBFT["tx_not_found"]
    assert post(node, "tx", **recorded["request"]["params"]) == recorded["response"]
    search = post(node, "tx_search", query="message.action='/pocket.proof.MsgCreateClaim'")
    assert search["result"]["total_count"] == "1"


def test_broadcasts(world: World, node: LocalNode) -> None:
    recorded = COMETBFT["broadcast_tx_sync_garbage"]
    assert post(node, "broadcast_tx_sync", **recorded["request"]["params"]) == recorded["response"]
    tx = base64.b64encode(world.transaction("supplier1", grown_tree(world).claim())).decode()
    assert members(post(node, "broadcast_tx_sync", tx=tx)) == members(
        COMETBFT["broadcast_tx_sync_ok"]["answer"]
    )
    again = post(node, "broadcast_tx_sync", tx=tx)
    assert again == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {"code": -32603, "message": "Internal error", "data": "tx already exists in cache"},
    }


def test_unknown_methods_and_broken_requests(node: LocalNode) -> None:
    assert post(node, "nope") == COMETBFT["unknown_method"]["response"]
    request = urllib.request.Request(node.rpc_url, b"{not json")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    assert json.loads(refused.value.read())["error"]["code"] == -32700
    assert post(node, "block", height="high")["error"]["code"] == -32602


# --- websocket ----------------------------------------------------------------------------------


@pytest.fixture
def client(node: LocalNode) -> Iterator[ClientConnection]:
    with connect(f"ws://{node.rpc.address}/websocket") as connection:
        yield connection


def ask(client: ClientConnection, call: dict[str, Any]) -> dict[str, Any]:
    client.send(json.dumps(call))
    return json.loads(client.recv(5))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["newblockheader", "newblock"])
def test_new_blocks(node: LocalNode, client: ClientConnection, kind: str) -> None:
    recorded = COMETBFT[f"ws_{kind}"]
    assert ask(client, recorded["request"]) == recorded["subscribed"]
    heights = []
    for _ in range(3):
        block = node.chain.step()
        event = json.loads(client.recv(5))
        assert event["id"] == recorded["request"]["id"]
        value = event["result"]["data"]["value"]
        header = value["header"] if kind == "newblockheader" else value["block"]["header"]
        assert header == block.header.to_json()
        heights.append(int(header["height"]))
    assert heights == [2, 3, 4]
    assert members(event) == members(recorded["events"][0])


def test_subscribing_twice_unsubscribing_and_bad_queries(node: LocalNode, client: ClientConnection) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "subscribe",
        "params": {"query": "tm.event='NewBlockHeader'"},
    }
    ask(client, call)
    assert ask(client, call)["error"]["data"] == "already subscribed"
    bad = ask(client, {**call, "params": {"query": "tm.ev bad"}})
    assert bad["error"]["data"].startswith("failed to parse query: offset ")
    assert bad["error"]["code"] == COMETBFT["ws_bad_query"]["answer"]["error"]["code"]
    assert ask(client, {"jsonrpc": "2.0", "id": 5, "method": "unsubscribe_all", "params": {}})["result"] == {}
    node.chain.step()
    assert ask(client, {"jsonrpc": "2.0", "id": 6, "method": "health"})["id"] == 6  # and no block before it
    assert node.rpc.subscriptions.number == 0


def test_transactions_can_be_followed(world: World, node: LocalNode, client: ClientConnection) -> None:
    ask(client, {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"query": "tm.event='Tx'"}})
    world.deliver("supplier1", grown_tree(world).claim())
    event = json.loads(client.recv(5))
    assert event["result"]["data"]["type"] == "tendermint/event/Tx"


def test_a_client_that_goes_away_is_forgotten(node: LocalNode) -> None:
    with connect(f"ws://{node.rpc.address}/websocket") as connection:
        call = {"jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": {"query": "tm.event='NewBlock'"}}
        ask(connection, call)
    node.chain.step(3)
    assert post(node, "status")["result"]["sync_info"]["latest_block_height"] == "4"
