"""Queries against recorded answers of a real node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from pocket_chain.node_errors import (
    AheadOfNode,
    EntityNotFound,
    NodeUnavailable,
)
from pocket_chain.queries import ChainQueries
from pocket_protocol.pb.pocket import proof_pb2, service_pb2, session_pb2
from pocket_protocol.wire import encode
from tests import recorded
from tests.unit.pocket_chain.fake_node import GrpcNode
from tests.unit.pocket_chain.query_methods import APPLICATION, CUPR_AT, SERVICE


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
    for module in ("shared", "session", "supplier", "proof", "tokenomics"):
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
