"""CometBFT RPC: recorded answers, kept connections, and every way of not answering."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from pocket_chain.json_rpc import JsonRpc, RpcRefused
from pocket_chain.node import CometNode, time_ns
from pocket_chain.node_errors import (
    AheadOfNode,
    BlockPruned,
    NodeAnswerUnreadable,
    NodeUnavailable,
    WrongChain,
)
from tests import recorded
from tests.unit.pocket_chain.fake_node import RpcNode, block_hash, refusal, rpc_node


@pytest.fixture
def server() -> Iterator[RpcNode]:
    with rpc_node() as running:
        yield running


@pytest.fixture
def node(server: RpcNode) -> Iterator[CometNode]:
    asking = CometNode(server.url, timeout_s=2.0, chain_id="pocket")
    yield asking
    asking.rpc.close()


def replay(server: RpcNode, method: str, name: str) -> Any:
    response = recorded.load(f"localnet/cometbft/{name}.json")["response"]
    server.results[method] = response if "error" in response else response["result"]
    return response.get("result")


@recorded.needs_recordings
def test_recorded_status_and_blocks(server: RpcNode, node: CometNode) -> None:
    replay(server, "status", "status")
    status = node.status()
    assert (status.network, status.position.height, status.earliest_height) == ("pocket", 767, 1)
    assert status.position.time_ns == 1_795_346_812_626_369_254 and not status.catching_up
    block = replay(server, "block", "block_height")
    position = node.block(707)
    assert position.block_hash.hex().upper() == block["block_id"]["hash"]
    replay(server, "block", "block_latest")
    assert node.block().height > 700
    replay(server, "block", "block_future")
    with pytest.raises(AheadOfNode) as caught:
        node.block(99999999)
    assert caught.value.node_height == 767


@recorded.needs_recordings
def test_recorded_block_results(server: RpcNode, node: CometNode) -> None:
    result = replay(server, "block_results", "block_results_proof_height")
    results = node.block_results(707)
    assert len(results.transactions) == len(result["txs_results"]) > 0
    assert results.transactions[0].gas_wanted == 2474680 and results.transactions[0].code == 0
    assert len(results.events) == len(result["finalize_block_events"])
    result = replay(server, "block_results", "block_results_settlement")
    settled = node.block_results(int(result["height"]))
    assert any(event.type == "pocket.tokenomics.EventClaimSettled" for event in settled.events)
    event = next(e for e in settled.events if e.type.endswith("EventClaimSettled"))
    assert event.get("num_relays") is not None and event.get("nothing") is None
    replay(server, "block_results", "block_results_future")
    with pytest.raises(AheadOfNode):
        node.block_results(99999999)


@recorded.needs_recordings
def test_recorded_transactions(server: RpcNode, node: CometNode) -> None:
    result = replay(server, "tx", "tx_by_hash")
    found = node.transaction(result["hash"])
    assert found is not None and (found.height, found.result.code, found.result.gas_used) == (707, 0, 202551)
    with pytest.raises(NodeAnswerUnreadable):
        node.transaction("00" * 32)  # an answer about another transaction
    replay(server, "tx", "tx_not_found")
    assert node.transaction("01" * 32) is None
    server.results["tx"] = refusal("transaction indexing is disabled")
    with pytest.raises(RpcRefused):
        node.transaction("01" * 32)


@recorded.needs_recordings
def test_recorded_refusals(server: RpcNode, node: CometNode) -> None:
    replay(server, "nope", "unknown_method")
    with pytest.raises(RpcRefused, match="Method not found"):
        node.rpc.call("nope")


@pytest.mark.parametrize("gas", [float("inf"), float("nan"), "9" * 5_000, "", []])
def test_gas_that_is_no_number_is_an_unreadable_answer(server: RpcNode, node: CometNode, gas: object) -> None:
    result = {"code": 0, "log": "", "gas_wanted": gas, "gas_used": "1", "events": []}
    server.results["block_results"] = {"height": "7", "txs_results": [result], "finalize_block_events": []}
    with pytest.raises(NodeAnswerUnreadable):
        node.block_results(7)


def test_heights_travel_as_text_and_answers_are_checked(server: RpcNode, node: CometNode) -> None:
    assert node.block(7).block_hash == block_hash(7)
    assert server.calls[-1] == ("block", {"height": "7"})
    server.results["block"] = server.answer("block", {"height": "8"})
    with pytest.raises(NodeAnswerUnreadable):
        node.block(7)


def test_pruned_blocks_and_other_chains(server: RpcNode, node: CometNode) -> None:
    server.lowest = 5
    with pytest.raises(BlockPruned) as caught:
        node.block(4)
    assert caught.value.lowest_height == 5
    server.results["block_results"] = refusal("could not find results for height #11")
    with pytest.raises(AheadOfNode):
        node.block_results(11)
    server.network = "other"
    for ask in (node.block, node.status):
        with pytest.raises(WrongChain):
            ask()


def test_one_connection_serves_many_calls(server: RpcNode, node: CometNode) -> None:
    for _ in range(5):
        node.block()
    assert server.connections == 1


def test_a_kept_connection_that_died_is_replaced(server: RpcNode, node: CometNode) -> None:
    server.close_after_answer = True
    for _ in range(3):
        assert node.block().height == 10
    assert server.connections == 3


def test_an_answer_cut_short_is_not_taken(server: RpcNode, node: CometNode) -> None:
    server.cut_next_answer = True
    with pytest.raises(NodeUnavailable) as caught:
        node.block()
    assert caught.value.code == "TRANSPORT"
    assert node.block().height == 10


@pytest.mark.parametrize("silent", ["before the answer", "within the head", "within the body"])
def test_a_hanging_node_meets_the_deadline(server: RpcNode, silent: str) -> None:
    node = CometNode(server.url, timeout_s=0.4)
    if silent == "before the answer":
        server.hold.clear()
    elif silent == "within the head":
        server.drip = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50
    else:
        server.drip = b"HTTP/1.1 200 OK\r\n\r\n" + b"{" * 500
    started = time.monotonic()
    with pytest.raises(NodeUnavailable, match="deadline exceeded"):
        node.block()
    assert time.monotonic() - started < 1.5


def test_a_refused_connection(server: RpcNode) -> None:
    with rpc_node() as stopped:
        url = stopped.url
    with pytest.raises(NodeUnavailable, match="refused"):
        CometNode(url, timeout_s=1).status()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"null", b"1", b'{"id":0}', b'{"id":0,"result":null}', b"[" * 100_000,
        b'{"id":0,"result":{}}', b'{"id":0,"result":[]}', b'{"id":0,"result":{"block":{"header":5}}}',
        b'{"id":77,"result":{}}', b"\xff\xfe",
        b'{"id":0,"result":{"block_id":{"hash":"zz"},"block":{"header":{"height":"1","chain_id":"pocket","time":""}}}}',
        b'{"id":0,"result":{"block_id":{"hash":"00"},"block":{"header":{"height":1,"chain_id":"pocket","time":""}}}}',
    ],
)  # fmt: skip
def test_malformed_answers(server: RpcNode, body: bytes) -> None:
    server.raw["block"] = body
    with pytest.raises(NodeAnswerUnreadable):
        CometNode(server.url, timeout_s=2, chain_id="pocket").block()


def test_an_error_page_of_a_proxy(server: RpcNode, node: CometNode) -> None:
    server.status_code = 502
    server.raw["block"] = b"bad gateway"
    with pytest.raises(NodeAnswerUnreadable, match="HTTP 502"):
        node.block()


def test_too_large_an_answer_is_not_read_to_its_end(
    server: RpcNode, node: CometNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocket_chain.json_rpc.MAX_ANSWER_BYTES", 100_000)
    server.raw["block"] = b" " * 300_000
    with pytest.raises(NodeAnswerUnreadable, match="TOO LARGE"):
        node.block()
    del server.raw["block"]
    assert node.block().height == 10


def test_credentials_go_to_the_node_and_nowhere_else(server: RpcNode) -> None:
    url = server.url.replace("http://", "http://user:hush@")
    node = CometNode(url)
    node.block()
    assert server.headers[-1]["Authorization"] == "Basic dXNlcjpodXNo"
    server.status_code = 500
    server.raw["block"] = b""
    with pytest.raises(NodeUnavailable) as caught:
        node.block()
    assert "hush" not in str(caught.value) + repr(caught.value.values)


@pytest.mark.parametrize("url", ["h:1", "ws://h", "http://"])
def test_only_http_addresses(url: str) -> None:
    with pytest.raises(ValueError):
        JsonRpc(url)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("2026-11-22T11:26:52.626369254Z", 1_795_346_812_626_369_254),
        ("2026-11-22T11:26:52.6Z", 1_795_346_812_600_000_000),
    ],
)
def test_block_times_are_exact_to_the_nanosecond(text: str, ns: int) -> None:
    assert time_ns(text) == ns


@pytest.mark.parametrize(
    "text", ["", "2026-11-22", "2026-11-22T11:26:52+01:00", "2026-13-22T11:26:52Z", "٢٠٢٦-11-22T11:26:52Z"]
)
def test_what_is_no_block_time(text: str) -> None:
    with pytest.raises(ValueError):
        time_ns(text)
