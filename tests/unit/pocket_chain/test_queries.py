"""Queries against real answers of a real node, and against nodes that fail."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from operations.sections import PocketNodeSection
from pocket_chain.grpc_channel import GrpcTarget, NodeChannels
from pocket_chain.node_errors import (
    AheadOfNode,
    EntityNotFound,
    MethodUnimplemented,
    NodeAnswerUnreadable,
    NodeUnavailable,
)
from pocket_chain.queries import AccountUnusable, ChainQueries, ComputeUnitsHistoryUnknown
from pocket_protocol.pb.cosmos.auth import v1beta1_pb2 as auth_pb2
from pocket_protocol.pb.cosmos.tx import v1beta1_pb2 as tx_pb2
from pocket_protocol.pb.pocket import application_pb2, proof_pb2, service_pb2, session_pb2, shared_pb2
from pocket_protocol.tx import pack
from pocket_protocol.wire import encode
from tests import recorded
from tests.unit.pocket_chain.fake_node import GrpcNode, grpc_node, rpc_node

CUPR_AT = "/pocket.service.Query/ComputeUnitsPerRelayAtHeight"
SERVICE = "/pocket.service.Query/Service"
APPLICATION = "/pocket.application.Query/Application"


@pytest.fixture
def node() -> Iterator[GrpcNode]:
    with grpc_node() as running:
        yield running


@pytest.fixture
def queries(node: GrpcNode) -> Iterator[ChainQueries]:
    asking = ChainQueries(node.target, insecure=True, timeout_s=3)
    yield asking
    asking.channels.close()


def samples(method: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = recorded.load(f"localnet/grpc/{method.lstrip('/').replace('/', '.')}.json")[
        "samples"
    ]
    return found


def replay(node: GrpcNode, method: str) -> Iterator[dict[str, Any]]:
    """Yield each recorded call of `method` while the node answers its request as recorded."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    for sample in samples(method):
        code = sample["grpc_code"]
        answer = bytes.fromhex(sample["response_hex"]) if code == 0 else (codes[code], sample["grpc_message"])
        node.by_request[method, bytes.fromhex(sample["request_hex"])] = answer
        yield sample


@recorded.needs_recordings
def test_recorded_parameters(node: GrpcNode, queries: ChainQueries) -> None:
    for module in (
        "shared",
        "session",
        "application",
        "supplier",
        "service",
        "gateway",
        "proof",
        "tokenomics",
    ):
        sample = next(replay(node, f"/pocket.{module}.Query/Params"))
        params = getattr(queries, f"{module}_params")()
        assert encode(params) == bytes.fromhex(sample["response_hex"])[2:][-len(encode(params)) :]
        assert params.ByteSize() > 0


@recorded.needs_recordings
def test_recorded_history_is_asked_at_its_height(node: GrpcNode, queries: ChainQueries) -> None:
    asked = 0
    for sample in replay(node, "/pocket.shared.Query/ParamsAtHeight"):
        if (height := int(sample["request_json"]["height"])) > 0 and sample["grpc_code"] == 0:
            params = queries.shared_params_at(height)
            assert params.num_blocks_per_session == int(
                sample["response_json"]["params"]["num_blocks_per_session"]
            )
            asked += 1
    for sample in replay(node, CUPR_AT):
        request = service_pb2.QueryComputeUnitsPerRelayAtHeightRequest.FromString(
            bytes.fromhex(sample["request_hex"])
        )
        if sample["grpc_code"] == 0:
            units = queries.compute_units_per_relay_at(request.serviceId, request.blockHeight)
            assert (
                units
                == service_pb2.QueryComputeUnitsPerRelayAtHeightResponse.FromString(
                    bytes.fromhex(sample["response_hex"])
                ).computeUnitsPerRelay
            )
            asked += 1
    for sample in replay(node, "/pocket.service.Query/RelayMiningDifficultyAtHeight"):
        request = service_pb2.QueryGetRelayMiningDifficultyAtHeightRequest.FromString(
            bytes.fromhex(sample["request_hex"])
        )
        if sample["grpc_code"] == 0:
            assert len(queries.difficulty_at(request.serviceId, request.blockHeight)) == 32
            asked += 1
    assert asked > 15


@recorded.needs_recordings
def test_recorded_sessions(node: GrpcNode, queries: ChainQueries) -> None:
    seen = set()
    for sample in replay(node, "/pocket.session.Query/GetSession"):
        request = session_pb2.QueryGetSessionRequest.FromString(bytes.fromhex(sample["request_hex"]))
        arguments = (request.application_address, request.service_id, request.block_height)
        if sample["grpc_code"] == 0 and request.block_height > 0:
            session = queries.session(*arguments)
            assert session.session_id == sample["response_json"]["session"]["session_id"]
            seen.add("found")
        elif sample["grpc_code"] == 13:
            with pytest.raises(NodeUnavailable) as caught:
                queries.session(*arguments)
            seen.add(type(caught.value).__name__)
            assert caught.value.text == sample["grpc_message"]
            if isinstance(caught.value, AheadOfNode):
                assert caught.value.node_height == 766
    assert seen == {"found", "NodeUnavailable", "AheadOfNode"}
    with pytest.raises(ValueError):
        queries.session("a", "s", 0)


@recorded.needs_recordings
def test_recorded_entities(node: GrpcNode, queries: ChainQueries) -> None:
    asks = {
        APPLICATION: lambda j: queries.application(j["address"]),
        "/pocket.supplier.Query/Supplier": lambda j: queries.supplier(j["operator_address"]),
        SERVICE: lambda j: queries.service(j["id"]),
        "/pocket.gateway.Query/Gateway": lambda j: queries.gateway(j["address"]),
        "/pocket.proof.Query/Claim": lambda j: queries.claim(j["session_id"], j["supplier_operator_address"]),
        "/pocket.proof.Query/Proof": lambda j: queries.proof(j["session_id"], j["supplier_operator_address"]),
    }
    found = missing = 0
    for method, ask in asks.items():
        for sample in replay(node, method):
            if sample["request_json"].get("dehydrated"):
                continue
            if sample["grpc_code"] == 0:
                entity = ask(sample["request_json"])
                assert encode(entity) in bytes.fromhex(sample["response_hex"])
                found += 1
            elif sample["grpc_code"] == 5:
                with pytest.raises(EntityNotFound) as caught:
                    ask(sample["request_json"])
                assert caught.value.height == 100
                missing += 1
    assert found > 10 and missing > 4


@recorded.needs_recordings
def test_recorded_lists(node: GrpcNode, queries: ChainQueries) -> None:
    for method, name in (
        ("/pocket.application.Query/AllApplications", "applications"),
        ("/pocket.service.Query/AllServices", "services"),
    ):
        node.answers[method] = bytes.fromhex(samples(method)[0]["response_hex"])
        assert len(getattr(queries, name)()) > 3
    sample = next(s for s in samples("/pocket.proof.Query/AllClaims") if len(s["response_hex"]) > 100)
    node.answers["/pocket.proof.Query/AllClaims"] = bytes.fromhex(sample["response_hex"])
    claims = proof_pb2.QueryAllClaimsResponse.FromString(bytes.fromhex(sample["response_hex"])).claims
    supplier, end = claims[0].supplier_operator_address, claims[0].session_header.session_end_block_height
    assert queries.claims(supplier, end) == [
        c for c in claims if c.session_header.session_end_block_height == end
    ]
    assert queries.observe_claims(supplier).height == 100
    assert queries.claims(supplier, end + 1) == [] == queries.claims("pokt1other")
    request = proof_pb2.QueryAllClaimsRequest.FromString(node.requests[-1][1])
    assert request.pagination.limit == 100


@recorded.needs_recordings
def test_recorded_accounts(node: GrpcNode, queries: ChainQueries) -> None:
    kinds = set()
    for sample in replay(node, "/cosmos.auth.v1beta1.Query/Account"):
        address = sample["request_json"]["address"]
        try:
            key = queries.public_key(address)
        except (EntityNotFound, NodeUnavailable) as error:
            kinds.add(type(error).__name__)
        else:
            kinds.add("none" if key is None else len(key))
            assert queries.account(address).address == address
    assert {33, "EntityNotFound", "NodeUnavailable"} <= kinds
    for sample in replay(node, "/cosmos.bank.v1beta1.Query/Balance"):
        if sample["grpc_code"] == 0:
            amount = int(sample["response_json"]["balance"]["amount"])
            assert queries.balance(sample["request_json"]["address"]) == amount


def test_absent_and_unknown_are_told_apart(node: GrpcNode, queries: ChainQueries) -> None:
    node.answers[APPLICATION] = (grpc.StatusCode.INTERNAL, "application not found")
    with pytest.raises(NodeUnavailable) as caught:
        queries.application("a")
    assert (caught.value.code, caught.value.text) == ("INTERNAL", "application not found")
    node.answers[APPLICATION] = (grpc.StatusCode.NOT_FOUND, "gone")
    with pytest.raises(EntityNotFound, match="gone"):
        queries.application("a")
    node.answers["/pocket.proof.Query/Claim"] = (grpc.StatusCode.NOT_FOUND, "no claim")
    seen = queries.observe_claim("s", "p")
    assert (seen.value, seen.height, seen.node) == (None, 100, node.target)


def test_an_old_node_is_not_asked_again_for_a_minute(node: GrpcNode) -> None:
    now = [0.0]
    queries = ChainQueries(node.target, insecure=True, now_s=lambda: now[0])
    node.answers[CUPR_AT] = (grpc.StatusCode.UNIMPLEMENTED, "unknown method")
    service = shared_pb2.Service(id="anvil", compute_units_per_relay=7)
    node.answers[SERVICE] = service_pb2.QueryGetServiceResponse(service=service).SerializeToString()
    with pytest.raises(ComputeUnitsHistoryUnknown):
        queries.compute_units_per_relay_at("anvil", 5)
    assert queries.compute_units_per_relay_at("anvil", 5, live_on_old_node=True) == 7
    assert node.calls(CUPR_AT) == 1
    node.answers[CUPR_AT] = service_pb2.QueryComputeUnitsPerRelayAtHeightResponse(
        computeUnitsPerRelay=3
    ).SerializeToString()
    now[0] = 59.0
    with pytest.raises(MethodUnimplemented):
        queries.compute_units_per_relay_at("anvil", 5)
    now[0] = 60.0
    assert queries.compute_units_per_relay_at("anvil", 5) == 3
    assert node.calls(CUPR_AT) == 2


def test_a_method_no_node_knows(queries: ChainQueries) -> None:
    with pytest.raises(MethodUnimplemented):
        queries.shared_params()


def test_a_slow_node_meets_the_deadline(node: GrpcNode) -> None:
    node.answers[SERVICE] = b""
    node.hold.clear()
    queries = ChainQueries(node.target, insecure=True, timeout_s=0.3)
    started = time.monotonic()
    with pytest.raises(NodeUnavailable) as caught:
        queries.service("anvil")
    assert caught.value.code == "DEADLINE_EXCEEDED" and time.monotonic() - started < 2


def test_a_dead_node_is_passed_over_and_then_avoided(node: GrpcNode) -> None:
    node.answers[SERVICE] = service_pb2.QueryGetServiceResponse(
        service=shared_pb2.Service(id="anvil")
    ).SerializeToString()
    with grpc_node() as stopped:
        dead = stopped.target
    channels = NodeChannels([GrpcTarget(dead, True), GrpcTarget(node.target, True)], 2.0)
    queries = ChainQueries(dead, channels=channels)
    assert queries.service("anvil").id == "anvil"
    started = time.monotonic()
    assert queries.service("anvil").id == "anvil"
    assert time.monotonic() - started < 0.5
    with pytest.raises(NodeUnavailable) as caught:
        ChainQueries(dead, insecure=True, timeout_s=1).service("anvil")
    assert caught.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_a_lagging_node_is_passed_over(node: GrpcNode) -> None:
    path = "/pocket.session.Query/GetSession"
    lag = "block height 9 is ahead of the last committed block height 8: error during session hydration"
    session = session_pb2.Session(session_id="s")
    with grpc_node() as behind:
        behind.answers[path] = (grpc.StatusCode.INTERNAL, lag)
        node.answers[path] = session_pb2.QueryGetSessionResponse(session=session).SerializeToString()
        queries = ChainQueries(behind.target, True, 2.0, [GrpcTarget(node.target, True)])
        assert queries.session("a", "s", 9).session_id == "s"
        node.answers[path] = (grpc.StatusCode.INTERNAL, lag)
        with pytest.raises(AheadOfNode):
            queries.session("a", "s", 9)


def test_a_node_well_behind_the_chain_is_left_for_one_that_is_not(node: GrpcNode) -> None:
    """It answers, with what was true long ago; that something is not there counts least of all."""
    found = service_pb2.QueryGetServiceResponse(service=shared_pb2.Service(id="new")).SerializeToString()
    with grpc_node() as behind:
        queries = ChainQueries(behind.target, True, 2.0, [GrpcTarget(node.target, True)])
        node.answers[SERVICE], node.height = found, 100
        for stale in (found, (grpc.StatusCode.NOT_FOUND, "no"), (grpc.StatusCode.UNKNOWN, "too early")):
            behind.answers[SERVICE], behind.height = stale, 98
            queries.channels = NodeChannels(queries.channels.targets, 2.0)
            queries.channels.expect(100)
            assert queries.service("new").id == "new"
            assert (len(behind.requests), len(node.requests)) == (1, 1)
            queries.service("new")
            assert (len(behind.requests), len(node.requests)) == (1, 2)  # avoided for a while
            behind.requests.clear()
            node.requests.clear()


def test_of_nodes_that_are_all_behind_the_newest_counts(node: GrpcNode) -> None:
    with grpc_node() as behind:
        behind.answers[SERVICE], behind.height = (grpc.StatusCode.NOT_FOUND, "no"), 90
        node.answers[SERVICE], node.height = (grpc.StatusCode.NOT_FOUND, "no"), 95
        queries = ChainQueries(node.target, True, 2.0, [GrpcTarget(behind.target, True)])
        queries.channels.expect(100)
        with pytest.raises(EntityNotFound) as absent:
            queries.service("x")
        assert absent.value.height == 95 and len(behind.requests) == 1
        queries.channels.expect(96)  # one block is no lag
        with pytest.raises(EntityNotFound):
            queries.service("x")
        assert len(behind.requests) == 1


def test_an_answer_that_stands_is_not_asked_elsewhere(node: GrpcNode) -> None:
    with grpc_node() as first:
        first.answers[SERVICE] = (grpc.StatusCode.NOT_FOUND, "no")
        node.answers[SERVICE] = b""
        queries = ChainQueries(first.target, True, 2.0, [GrpcTarget(node.target, True)])
        with pytest.raises(EntityNotFound):
            queries.service("x")
        assert node.requests == []


@pytest.mark.parametrize("answer", [b"\xff\xff", b"\x0a\x05ab"])
def test_garbage_is_refused(node: GrpcNode, queries: ChainQueries, answer: bytes) -> None:
    node.answers[SERVICE] = answer
    with pytest.raises(NodeAnswerUnreadable):
        queries.service("anvil")


def test_answers_that_cannot_be_true_are_refused(node: GrpcNode, queries: ChainQueries) -> None:
    difficulty = service_pb2.RelayMiningDifficulty(target_hash=b"short")
    node.answers["/pocket.service.Query/RelayMiningDifficulty"] = (
        service_pb2.QueryGetRelayMiningDifficultyResponse(
            relayMiningDifficulty=difficulty
        ).SerializeToString()
    )
    with pytest.raises(NodeAnswerUnreadable):
        queries.difficulty("anvil")
    module = auth_pb2.QueryAccountResponse(account=pack(auth_pb2.ModuleAccount(name="m")))
    node.answers["/cosmos.auth.v1beta1.Query/Account"] = module.SerializeToString()
    with pytest.raises(AccountUnusable):
        queries.public_key("pokt1m")
    other = auth_pb2.BaseAccount(address="a")
    other.pub_key.type_url = "/cosmos.crypto.ed25519.PubKey"
    node.answers["/cosmos.auth.v1beta1.Query/Account"] = auth_pb2.QueryAccountResponse(
        account=pack(other)
    ).SerializeToString()
    assert queries.public_key("a") == b""


def test_pages_are_followed_to_their_end_but_not_in_circles(node: GrpcNode, queries: ChainQueries) -> None:
    path = "/pocket.application.Query/AllApplications"
    pages = {b"": b"k1", b"k1": b"k2", b"k2": b""}

    def page(request: bytes) -> bytes:
        key = application_pb2.QueryAllApplicationsRequest.FromString(request).pagination.key
        answer = application_pb2.QueryAllApplicationsResponse()
        answer.applications.add(address=f"app {key.decode()}")
        answer.pagination.next_key = pages[key]
        return answer.SerializeToString()

    node.answers[path] = page
    assert [one.address for one in queries.applications()] == ["app ", "app k1", "app k2"]
    pages[b"k2"] = b"k1"
    with pytest.raises(NodeAnswerUnreadable, match="no end"):
        queries.applications()


def test_the_last_fee_is_asked_by_query(node: GrpcNode, queries: ChainQueries) -> None:
    path = "/cosmos.tx.v1beta1.Service/GetTxsEvent"
    answer = tx_pb2.GetTxsEventResponse()
    node.answers[path] = answer.SerializeToString()
    assert queries.last_fee("/pocket.proof.MsgCreateClaim") is None
    answer.txs.add().auth_info.fee.amount.add(denom="upokt", amount="12")
    node.answers[path] = answer.SerializeToString()
    assert queries.last_fee("/pocket.proof.MsgCreateClaim") == 12
    request = tx_pb2.GetTxsEventRequest.FromString(node.requests[-1][1])
    assert request.query == "message.action='/pocket.proof.MsgCreateClaim'" and not request.events


def test_channels_are_made_anew_after_a_fork(node: GrpcNode) -> None:
    """The channel object is per process: a child that never used gRPC in its parent opens its own."""
    node.answers[SERVICE] = b""
    channels = NodeChannels([GrpcTarget(node.target, True)], 2.0)
    queries = ChainQueries("unused", channels=channels)
    queries.service("a")
    first = channels._channel(0)
    assert channels._channel(0) is first
    channels._process_id = os.getpid() + 1  # as a child finds it
    assert channels._channel(0) is not first
    queries.service("a")
    first.close()
    channels.close()
    assert queries.service("a").id == ""  # close is not the end


UNDER_GEVENT = """
import sys
from gevent import monkey; monkey.patch_all()
import grpc.experimental.gevent as grpc_gevent; grpc_gevent.init_gevent()
import gevent
from pocket_chain.node import CometNode
from pocket_chain.queries import ChainQueries
queries, node = ChainQueries(sys.argv[1], True, 5.0), CometNode(sys.argv[2])
jobs = [gevent.spawn(queries.service, "anvil") for _ in range(8)] + [gevent.spawn(node.block) for _ in range(8)]
ticks = []
ticker = gevent.spawn(lambda: [ticks.append(gevent.sleep(0.01)) for _ in range(5)])
gevent.joinall(jobs + [ticker], raise_error=True)
print(jobs[0].value.id, jobs[-1].value.height, len(ticks))
"""


def test_queries_work_in_a_patched_process(node: GrpcNode) -> None:
    node.answers[SERVICE] = shared_answer("anvil")
    with rpc_node() as rpc:
        command = [sys.executable, "-c", UNDER_GEVENT, node.target, rpc.url]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == [b"anvil", b"10", b"5"]


def shared_answer(service_id: str) -> bytes:
    service = shared_pb2.Service(id=service_id)
    return service_pb2.QueryGetServiceResponse(service=service).SerializeToString()


FORKING = """
import os, sys
from pocket_chain.queries import ChainQueries
queries = ChainQueries(sys.argv[1], True, 5.0)
children = []
for _ in range(2):
    if (child := os.fork()) == 0:
        os._exit(0 if queries.service("anvil").id == "anvil" else 1)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def test_each_forked_process_opens_its_own_channel(node: GrpcNode) -> None:
    node.answers[SERVICE] = shared_answer("anvil")
    done = subprocess.run(
        [sys.executable, "-c", FORKING, node.target], capture_output=True, timeout=60, check=True
    )
    assert done.stdout.strip() == b"[0, 0]"


def test_queries_of_a_configured_node() -> None:
    node = PocketNodeSection("http://h:1", "grpc://h:2", True)
    queries = ChainQueries.of(node, [PocketNodeSection("http://i:1", "i:2")])
    assert queries.channels.targets == (GrpcTarget("h:2", True), GrpcTarget("i:2", False))
    assert queries.channels.timeout_s == 5
