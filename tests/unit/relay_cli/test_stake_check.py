"""Stakes of the chain beside configured backends, pair by pair (spec/relayer.md §6.1)."""

from __future__ import annotations

from collections.abc import Mapping

from pocket_chain.node_errors import EntityNotFound
from pocket_protocol.pb.pocket import shared_pb2
from pocket_protocol.types import Height
from relay_cli.validate.stake_check import check_stakes
from relayer_web.config import RelayerConfig, ServiceConfig
from relayer_web.config_backends import BackendConfig

Stake = list[tuple[str, int]]


class Chain:
    """Suppliers with one service configuration per listed (service, RPC type)."""

    def __init__(self, stakes: Mapping[str, Stake]) -> None:
        self._stakes = stakes

    def supplier(self, address: str) -> shared_pb2.Supplier:
        if address not in self._stakes:
            raise EntityNotFound(method="Supplier", height=Height(1))
        supplier = shared_pb2.Supplier(operator_address=address)
        for service, rpc_type in self._stakes[address]:
            config = supplier.services.add(service_id=service)
            config.endpoints.add(url="http://x", rpc_type=rpc_type)  # type: ignore[arg-type]
        return supplier


def report(backends: Mapping[str, list[str]], stakes: Mapping[str, Stake], *suppliers: str) -> list[str]:
    services = {
        service: ServiceConfig(backends={one: BackendConfig(url="http://a") for one in transports})
        for service, transports in backends.items()
    }
    findings = check_stakes(RelayerConfig(services=services), suppliers, Chain(stakes))  # type: ignore[arg-type]
    assert all(finding.unserved is finding.text.startswith("ERROR") for finding in findings)
    return [finding.text for finding in findings]


ALL = [
    ("svc", shared_pb2.GRPC),
    ("svc", shared_pb2.WEBSOCKET),
    ("svc", shared_pb2.JSON_RPC),
    ("svc", shared_pb2.REST),
    ("svc", shared_pb2.COMET_BFT),
]


def test_every_staked_transport_with_a_backend_leaves_nothing_to_say() -> None:
    """reference: TestCrossCheckStake_FullyConfigured, TestRPCTypeToBackendType_AllFive."""
    backends = {"svc": ["jsonrpc", "rest", "websocket", "grpc", "cometbft"]}
    assert report(backends, {"s": ALL}, "s") == []
    assert len(report({"svc": ["jsonrpc"]}, {"s": ALL}, "s")) == 4


def test_a_pair_staked_twice_is_said_once_and_a_service_that_is_not_configured_is_missing() -> None:
    """reference: TestExtractStakedPairs_DedupWithinService, TestCrossCheckStake_ServiceNotInConfigAtAll."""
    stakes = {"s": [("gone", shared_pb2.REST), ("gone", shared_pb2.REST)]}
    assert report({}, stakes, "s") == ["ERROR  staked but no backend: supplier=s service=gone transport=rest"]


def test_a_transport_nobody_knows_is_said_and_no_error() -> None:
    """reference: TestRPCTypeToBackendType_Unknown, TestCrossCheckStake_UnknownRPCTypeReported."""
    [line] = report({}, {"s": [("svc", shared_pb2.UNKNOWN_RPC)]}, "s")
    assert line.startswith("debug  on-chain transport that cannot be served here (skipped): supplier=s")


def test_a_backend_is_surplus_only_when_no_supplier_staked_it_and_the_order_is_fixed() -> None:
    """reference: TestCrossCheckStake_MultiSupplierUnion, TestCrossCheckStake_Deterministic."""
    backends = {"b": ["rest", "jsonrpc"], "a": ["rest"]}
    stakes = {"s2": [("a", shared_pb2.REST)], "s1": [("b", shared_pb2.REST), ("c", shared_pb2.GRPC)]}
    expected = [
        "ERROR  staked but no backend: supplier=s1 service=c transport=grpc",
        "info   backend configured, not staked (surplus): service=b transport=jsonrpc",
    ]
    assert report(backends, stakes, "s1", "s2") == report(backends, stakes, "s2", "s1") == expected


def test_a_supplier_that_is_not_staked_is_no_error() -> None:
    """reference: TestRunCheckStake_NotStakedSupplierSkipped."""
    assert report({}, {}, "s") == ["info   supplier not staked on-chain (nothing to serve): supplier=s"]
    assert report({}, {"s": []}, "s") == []
