"""Configuration against the chain: does every service a supplier staked for have a backend (spec/relayer.md §6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pocket_chain.node_errors import EntityNotFound
from pocket_chain.queries import ChainQueries
from pocket_protocol.pb.pocket import shared_pb2
from relayer_web.config import RelayerConfig

TRANSPORT_OF = {
    shared_pb2.GRPC: "grpc",
    shared_pb2.WEBSOCKET: "websocket",
    shared_pb2.JSON_RPC: "jsonrpc",
    shared_pb2.REST: "rest",
    shared_pb2.COMET_BFT: "cometbft",
}


@dataclass(frozen=True, slots=True)
class StakeFinding:
    """One line of the report; `unserved` ones make the check fail."""

    text: str
    unserved: bool = False


def check_stakes(
    config: RelayerConfig, suppliers: Iterable[str], queries: ChainQueries
) -> list[StakeFinding]:
    """Compare each supplier's stake with the configured backends.

    Raises NodeUnavailable; a supplier the chain does not know is a finding.
    """
    backends = {
        (service, transport) for service, one in config.services.items() for transport in one.backends
    }
    findings: list[StakeFinding] = []
    staked: set[tuple[str, str]] = set()
    for supplier in sorted(suppliers):
        try:
            services = queries.supplier(supplier).services
        except EntityNotFound:
            findings.append(
                StakeFinding(f"info   supplier not staked on-chain (nothing to serve): supplier={supplier}")
            )
            continue
        for service, rpc_type in _endpoints(services):
            transport = TRANSPORT_OF.get(rpc_type)
            where = f"supplier={supplier} service={service}"
            if transport is None:
                text = (
                    f"debug  on-chain transport that cannot be served here (skipped): {where} type={rpc_type}"
                )
                findings.append(StakeFinding(text))
                continue
            staked.add((service, transport))
            if (service, transport) not in backends:
                text = f"ERROR  staked but no backend: {where} transport={transport}"
                findings.append(StakeFinding(text, unserved=True))
    for service, transport in sorted(backends - staked):
        text = f"info   backend configured, not staked (surplus): service={service} transport={transport}"
        findings.append(StakeFinding(text))
    return findings


def _endpoints(services: Iterable[shared_pb2.SupplierServiceConfig]) -> list[tuple[str, int]]:
    """Return each (service id, RPC type) once, in the chain's order."""
    pairs: Mapping[tuple[str, int], None] = {
        (config.service_id, endpoint.rpc_type): None for config in services for endpoint in config.endpoints
    }
    return list(pairs)
