"""CometBFT's RPC: requests over a real socket; where recordings are, answers with the recorded members and texts."""

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
from tests.recorded import needs_recordings
from tests.unit.localnet.chains import World, grown_tree
from tests.unit.localnet.recordings import recorded_rpc, time_ns


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


@needs_recordings
@pytest.mark.parametrize("name", ["block_latest", "block_height"])
def test_block_hashes_are_computed_as_the_network_does(name: str) -> None:
    result = recorded_rpc(name)["response"]["result"]
    header = header_of(result["block"]["header"])
    assert header.to_json() == result["block"]["header"]
    assert header.hash().hex().upper() == result["block_id"]["hash"]


@needs_recordings
@pytest.mark.parametrize("name", ["status", "abci_info", "validators", "health", "block_latest"])
def test_answers_have_the_recorded_members(node: LocalNode, name: str) -> None:
    recorded = recorded_rpc(name)
    node.chain.step()
    answer = post(node, recorded["request"]["method"])
    assert members(answer) == members(recorded["response"])


@needs_recordings
def test_get_answers_have_the_recorded_members(node: LocalNode) -> None:
    assert members(get(node, "/status")[1]) == members(recorded_rpc("GET_status")["response"])


def test_get_answers_have_id_minus_one(node: LocalNode) -> None:
    status, answer = get(node, "/status")
    assert (status, answer["id"]) == (200, -1)
    assert get(node, "/block?height=1")[1]["result"]["block"]["header"]["height"] == "1"


def test_call_ids_come_back_whatever_they_are(node: LocalNode) -> None:
    for call_id in (0, "a", 7):
        assert post(node, "health", call_id)["id"] == call_id


@needs_recordings
def test_block_results_have_the_recorded_members(world: World, node: LocalNode) -> None:
    tree = grown_tree(world)
    world.to(11)
    world.deliver("supplier1", tree.claim())
    empty, full = post(node, "block_results", height="1"), post(node, "block_results", height="12")
    recorded = recorded_rpc("block_results_settlement")["response"]["result"]
    assert set(empty["result"]) == set(recorded)
    assert empty["result"]["txs_results"] is None
    want = recorded_rpc("block_results_proof_height")["response"]["result"]["txs_results"][0]
    assert members(full["result"]["txs_results"][0]) == members(want)


@needs_recordings
@pytest.mark.parametrize("name", ["block_future", "block_results_future"])
def test_future_heights(node: LocalNode, name: str) -> None:
    recorded = recorded_rpc(name)
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
    search = post(node, "tx_search", query="message.action='/pocket.proof.MsgCreateClaim'")
    assert search["result"]["total_count"] == "1"


@needs_recordings
def test_a_transaction_has_the_recorded_members(world: World, node: LocalNode) -> None:
    world.to(11)
    world.deliver("supplier1", grown_tree(world).claim())
    _, found = get(node, f"/tx?hash=0x{tx_hash(world.chain.block(12).txs[0])}")
    assert members(found["result"]) == members(recorded_rpc("tx_by_hash")["response"]["result"])


@needs_recordings
@pytest.mark.parametrize("name", ["tx_not_found", "broadcast_tx_sync_garbage", "unknown_method"])
def test_refusals_are_the_recorded_ones(node: LocalNode, name: str) -> None:
    request, response = recorded_rpc(name)["request"], recorded_rpc(name)["response"]
    assert post(node, request["method"], **request["params"]) == response


@needs_recordings
def test_an_accepted_broadcast_has_the_recorded_members(world: World, node: LocalNode) -> None:
    tx = base64.b64encode(world.transaction("supplier1", grown_tree(world).claim())).decode()
    assert members(post(node, "broadcast_tx_sync", tx=tx)) == members(
        recorded_rpc("broadcast_tx_sync_ok")["answer"]
    )


def test_broadcasts(world: World, node: LocalNode) -> None:
    tx = base64.b64encode(world.transaction("supplier1", grown_tree(world).claim())).decode()
    assert post(node, "broadcast_tx_sync", tx=tx)["result"]["code"] == 0
    again = post(node, "broadcast_tx_sync", tx=tx)
    assert again == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {"code": -32603, "message": "Internal error", "data": "tx already exists in cache"},
    }


def test_broken_requests(node: LocalNode) -> None:
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


def subscribe(client: ClientConnection, query: str) -> dict[str, Any]:
    return ask(client, {"jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": {"query": query}})


@pytest.mark.parametrize("kind", ["NewBlockHeader", "NewBlock"])
def test_new_blocks(node: LocalNode, client: ClientConnection, kind: str) -> None:
    subscribe(client, f"tm.event='{kind}'")
    heights = []
    for _ in range(3):
        block = node.chain.step()
        event = json.loads(client.recv(5))
        assert event["id"] == 0
        value = event["result"]["data"]["value"]
        header = value["header"] if kind == "NewBlockHeader" else value["block"]["header"]
        assert header == block.header.to_json()
        heights.append(int(header["height"]))
    assert heights == [2, 3, 4]


@needs_recordings
@pytest.mark.parametrize("name", ["ws_newblockheader", "ws_newblock"])
def test_events_have_the_recorded_members(node: LocalNode, client: ClientConnection, name: str) -> None:
    recorded = recorded_rpc(name)
    assert ask(client, recorded["request"]) == recorded["subscribed"]
    node.chain.step()
    assert members(json.loads(client.recv(5))) == members(recorded["events"][0])


@needs_recordings
def test_a_bad_query_has_the_recorded_code(client: ClientConnection) -> None:
    recorded = recorded_rpc("ws_bad_query")
    assert subscribe(client, "tm.ev bad")["error"]["code"] == recorded["answer"]["error"]["code"]


def test_subscribing_twice_unsubscribing_and_bad_queries(node: LocalNode, client: ClientConnection) -> None:
    subscribe(client, "tm.event='NewBlockHeader'")
    assert subscribe(client, "tm.event='NewBlockHeader'")["error"]["data"] == "already subscribed"
    bad = subscribe(client, "tm.ev bad")
    assert bad["error"]["data"].startswith("failed to parse query: offset ")
    assert ask(client, {"jsonrpc": "2.0", "id": 5, "method": "unsubscribe_all", "params": {}})["result"] == {}
    node.chain.step()
    assert ask(client, {"jsonrpc": "2.0", "id": 6, "method": "health"})["id"] == 6  # and no block before it
    assert node.rpc.subscriptions.number == 0


def test_transactions_can_be_followed(world: World, node: LocalNode, client: ClientConnection) -> None:
    subscribe(client, "tm.event='Tx'")
    world.deliver("supplier1", grown_tree(world).claim())
    event = json.loads(client.recv(5))
    assert event["result"]["data"]["type"] == "tendermint/event/Tx"


def test_a_client_that_goes_away_is_forgotten(node: LocalNode) -> None:
    with connect(f"ws://{node.rpc.address}/websocket") as connection:
        subscribe(connection, "tm.event='NewBlock'")
    node.chain.step(3)
    assert post(node, "status")["result"]["sync_info"]["latest_block_height"] == "4"
