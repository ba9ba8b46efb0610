"""Queries: what an answer means, and answers that cannot be true."""

from __future__ import annotations

import grpc
import pytest

from operations.sections import PocketNodeSection
from pocket_chain.grpc_channel import GrpcTarget
from pocket_chain.node_errors import (
    EntityNotFound,
    MethodUnimplemented,
    NodeAnswerUnreadable,
    NodeUnavailable,
)
from pocket_chain.queries import AccountUnusable, ChainQueries, ComputeUnitsHistoryUnknown
from pocket_protocol.pb.cosmos.auth import v1beta1_pb2 as auth_pb2
from pocket_protocol.pb.cosmos.tx import v1beta1_pb2 as tx_pb2
from pocket_protocol.pb.pocket import application_pb2, service_pb2, shared_pb2
from pocket_protocol.tx import pack
from tests.unit.pocket_chain.fake_node import GrpcNode
from tests.unit.pocket_chain.query_methods import APPLICATION, CUPR_AT, SERVICE


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


def test_queries_of_a_configured_node() -> None:
    node = PocketNodeSection("http://h:1", "grpc://h:2", True)
    queries = ChainQueries.of(node, [PocketNodeSection("http://i:1", "i:2")])
    assert queries.channels.targets == (GrpcTarget("h:2", True), GrpcTarget("i:2", False))
    assert queries.channels.timeout_s == 5
