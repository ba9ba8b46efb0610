"""The chain of `up` and `make run`: two services, two applications behind one gateway, two suppliers
(decisions.md I), and the key files that its operator and its gateway need."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.message import Message

from localnet.genesis import MODULES, read_message
from pocket_protocol.address import address_of, module_address
from pocket_protocol.curve import ORDER, Curve
from pocket_protocol.signer import PrivateKey

_POKT = 10**6
_SHARES = {"dao": 0.1, "proposer": 0.05, "supplier": 0.7, "source_owner": 0.15, "application": 0.0}

# Numbers of the reference's localnet (spec/chain.md §3.2), windows and proof rules of decisions.md I.
PARAMS: dict[str, dict[str, Any]] = {
    "shared": {
        "num_blocks_per_session": 10,
        "grace_period_end_offset_blocks": 1,
        "claim_window_open_offset_blocks": 1,
        "claim_window_close_offset_blocks": 8,
        "proof_window_open_offset_blocks": 0,
        "proof_window_close_offset_blocks": 8,
        "supplier_unbonding_period_sessions": 20,
        "application_unbonding_period_sessions": 2,
        "gateway_unbonding_period_sessions": 1,
        "compute_units_to_tokens_multiplier": 100,
        "compute_unit_cost_granularity": 1,
    },
    "session": {"num_suppliers_per_session": 15},
    "service": {"add_service_fee": 1000 * _POKT, "target_num_relays": 100_000},
    "proof": {
        "proof_request_probability": 0.0,
        "proof_requirement_threshold": 1 * _POKT,
        "proof_missing_penalty": 250_000,
        "proof_submission_fee": 1 * _POKT,
    },
    "supplier": {"min_stake": 1 * _POKT, "staking_fee": 1 * _POKT},
    "application": {"max_delegated_gateways": 7, "min_stake": 100 * _POKT},
    "gateway": {"min_stake": 1 * _POKT},
    "tokenomics": {
        "mint_allocation_percentages": _SHARES,
        "mint_equals_burn_claim_distribution": _SHARES,
        "global_inflation_per_claim": 0.0,
        "mint_ratio": 1.0,
    },
}


def default_params() -> dict[str, Message]:
    """Return the parameters of all modules."""
    params = {m: read_message(MODULES[m], values, f"params.{m}") for m, values in PARAMS.items()}
    params["tokenomics"].dao_reward_address = module_address("dao")
    return params


@dataclass(frozen=True, slots=True)
class Options:
    """What `up` lets be chosen. The threshold lies between the claims of the two services' sessions."""

    chain_id: str = "pocket"
    num_suppliers: int = 2
    # service id -> compute units per relay; each gets an application
    services: tuple[tuple[str, int], ...] = (("develop-http", 1000), ("develop-rest", 10))
    supplier_endpoint: str = "http://127.0.0.1:8080"
    proof_request_probability: float = 0.0
    proof_requirement_threshold_upokt: int = 1 * _POKT
    num_blocks_per_session: int = 10
    claim_window_close_offset_blocks: int = 8
    proof_window_close_offset_blocks: int = 8
    target_num_relays: int = 100_000
    num_suppliers_per_session: int = 15


def named_key(name: str) -> PrivateKey:
    """Return the key of a role of the default chain. Everybody can derive it: for local chains only."""
    number = int.from_bytes(hashlib.sha256(f"pocket localnet {name}".encode()).digest(), "big")
    return PrivateKey((number % (ORDER - 1) + 1).to_bytes(32, "big"))


@dataclass(frozen=True, slots=True)
class DefaultChain:
    """A genesis document and the keys behind it, by role name."""

    document: dict[str, Any]
    keys: Mapping[str, PrivateKey]
    addresses: Mapping[str, str]
    options: Options

    @property
    def supplier_names(self) -> list[str]:
        return [f"supplier{number}" for number in range(1, self.options.num_suppliers + 1)]

    @property
    def application_names(self) -> list[str]:
        return [f"app{number}" for number in range(1, len(self.options.services) + 1)]


def default_chain(
    curve: Curve, options: Options = Options(), keys: Mapping[str, PrivateKey] | None = None
) -> DefaultChain:
    """Return the default chain; roles missing in `keys` get the key derived from their name."""
    suppliers = [f"supplier{number}" for number in range(1, options.num_suppliers + 1)]
    applications = [f"app{number}" for number in range(1, len(options.services) + 1)]
    roles = ["faucet", "dao", "validator", "source_owner", "gateway1", *applications, *suppliers]
    chosen = {role: (keys or {}).get(role) or named_key(role) for role in roles}
    public_keys = {role: key.public_key(curve) for role, key in chosen.items()}
    balances = {"faucet": 100_000_000 * _POKT, "validator": 1000 * _POKT}
    document: dict[str, Any] = {
        "chain_id": options.chain_id,
        "accounts": [
            {
                "name": role,
                "public_key": public_keys[role].hex(),
                "balance_upokt": balances.get(role, 1_000_000 * _POKT),
            }
            for role in roles
        ],
        "validator": {"account": "validator", "stake_upokt": 900 * _POKT, "commission": "0.1"},
        "params": {
            "shared": {
                "num_blocks_per_session": options.num_blocks_per_session,
                "claim_window_close_offset_blocks": options.claim_window_close_offset_blocks,
                "proof_window_close_offset_blocks": options.proof_window_close_offset_blocks,
            },
            "session": {"num_suppliers_per_session": options.num_suppliers_per_session},
            "service": {"target_num_relays": options.target_num_relays},
            "proof": {
                "proof_request_probability": options.proof_request_probability,
                "proof_requirement_threshold": options.proof_requirement_threshold_upokt,
            },
            "tokenomics": {"dao_reward_address": "dao"},
        },
        "services": [
            {"id": service, "compute_units_per_relay": units, "owner": "source_owner"}
            for service, units in options.services
        ],
        "gateways": [{"account": "gateway1", "stake_upokt": 2 * _POKT}],
        "applications": [
            {
                "account": application,
                "stake_upokt": 10_000_000 * _POKT,
                "services": [service],
                "gateways": ["gateway1"],
            }
            for application, (service, _) in zip(applications, options.services, strict=True)
        ],
        "suppliers": [_supplier(role, options) for role in suppliers],
    }
    addresses = {role: address_of(key) for role, key in public_keys.items()}
    return DefaultChain(document, chosen, addresses, options)


def _supplier(role: str, options: Options) -> dict[str, Any]:
    socket_endpoint = options.supplier_endpoint.replace("http", "ws", 1)
    endpoints = [
        {"url": options.supplier_endpoint, "rpc_type": "JSON_RPC"},
        {"url": socket_endpoint, "rpc_type": "WEBSOCKET"},
        {"url": options.supplier_endpoint, "rpc_type": "REST"},
        {"url": options.supplier_endpoint, "rpc_type": "GRPC"},
    ]
    services = [{"id": service, "endpoints": endpoints} for service, _ in options.services]
    return {"operator": role, "stake_upokt": 100 * _POKT, "services": services}


def write_default_chain(directory: Path, chain: DefaultChain) -> None:
    """Write genesis.yaml, supplier-keys.yaml (for the miner and the relayer) and client-keys.yaml (for `relay`).

    Key files are readable by their owner only. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    genesis = directory / "genesis.yaml"
    genesis.write_text(yaml.safe_dump(chain.document, sort_keys=False))
    suppliers = {"keys": [chain.keys[role].reveal().hex() for role in chain.supplier_names]}
    client = {
        "applications": [chain.keys[role].reveal().hex() for role in chain.application_names],
        "gateway": [chain.keys["gateway1"].reveal().hex()],
    }
    for name, content in (("supplier-keys.yaml", suppliers), ("client-keys.yaml", client)):
        path = directory / name
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
