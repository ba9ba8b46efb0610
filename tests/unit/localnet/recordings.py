"""What a real node said, and the genesis that makes the local chain say it again (tests/vectors/localnet)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from typing import Any

from google.protobuf.json_format import ParseDict

from localnet.chain import LocalChain
from localnet.cosmos_genesis import read_cosmos_genesis
from localnet.default_genesis import default_params
from localnet.events import Event
from localnet.fixture import Fixture
from localnet.genesis import Genesis, GenesisAccount
from localnet.validator import Validator
from pocket_protocol.curve import load_curve
from pocket_protocol.pb.pocket import session_pb2, shared_pb2, tokenomics_pb2
from tests.vectors import load

CURVE = load_curve()
_GAS = re.compile(r"with gas used: '\d+'")


def recorded_chain() -> dict[str, Any]:
    """The chain of spec/live.md: genesis, keys, transactions, events, what is known of its blocks."""
    return load("localnet/chain")  # type: ignore[no-any-return]


def time_ns(text: str) -> int:
    """Return an RFC 3339 time in nanoseconds."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(
        fraction.ljust(9, "0") or 0
    )


def shown(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [event.to_json() for event in events]


def pocket_only(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["type"].startswith("pocket.")]


def in_order(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pocket events; judgements of proofs sorted, for the real node makes them in parallel."""
    listed = pocket_only(events)
    judged = sorted((e for e in listed if e["type"].endswith("EventProofValidityChecked")), key=str)
    return judged + [e for e in listed if not e["type"].endswith("EventProofValidityChecked")]


def same_result(got: dict[str, Any], want: dict[str, Any]) -> None:
    """Assert that two tx_results agree in everything; gas, a model here, within two fifths."""
    got, want = dict(got), dict(want)
    used, real = int(got.pop("gas_used")), int(want.pop("gas_used"))
    assert abs(used - real) < 0.4 * real
    assert got == want


def without_gas(text: str) -> str:
    """Return an error text with its gas figure masked: figures are a model here."""
    return _GAS.sub("with gas used: '…'", text)


def replay_chain(fixture: Fixture, height: int, start_ns: int) -> LocalChain:
    """Return the recorded chain as if it stood at `height`, its blocks from `start_ns` on a nanosecond apart."""
    recorded = recorded_chain()
    genesis = read_cosmos_genesis(recorded["genesis"], CURVE)
    chain = LocalChain(genesis, CURVE, fixture=fixture, now_ns=lambda: start_ns)
    chain.jump_to(height)
    return chain


def live_genesis(
    live: dict[str, Any], account_numbers: dict[str, int], proof: dict[str, int], mint_ratio: float = 1.0
) -> Genesis:
    """Return a genesis for a lifecycle of chain_live: everything its session shows, and the public test keys."""
    response = session_pb2.QueryGetSessionResponse.FromString(bytes.fromhex(live["session_response_hex"]))
    keys = {entry["address"]: entry["public_key"] for entry in recorded_chain()["keys"].values()}
    suppliers = list(response.session.suppliers)
    known = {
        response.session.application.address: 1,
        **dict.fromkeys(response.session.application.delegatee_gateway_addresses, 1),
        **{supplier.operator_address: 1 for supplier in suppliers},
        **dict.fromkeys(account_numbers, 1),
    }
    accounts = tuple(
        GenesisAccount(
            address,
            bytes.fromhex(keys.get(address, "")),
            999_999_999_799,
            account_numbers.get(address, 1000 + index),
        )
        for index, address in enumerate(known)
    )
    service_owner = recorded_chain()["keys"]["source_owner_develop"]["address"]
    validator_account = recorded_chain()["keys"]["validator1"]["address"]
    tokenomics = tokenomics_pb2.Params()
    tokenomics.CopyFrom(default_params()["tokenomics"])  # type: ignore[arg-type]
    tokenomics.dao_reward_address = recorded_chain()["keys"]["pnf"]["address"]
    tokenomics.mint_ratio = mint_ratio
    params = {
        **default_params(),
        "shared": ParseDict(live["shared_params"], shared_pb2.Params()),
        "tokenomics": tokenomics,
    }
    genesis = Genesis(
        chain_id="pocket",
        params=params,
        accounts=accounts,
        services=(
            shared_pb2.Service(
                id="develop-http",
                name="develop-http",
                compute_units_per_relay=1000,
                owner_address=service_owner,
            ),
        ),
        applications=(response.session.application,),
        suppliers=tuple(suppliers),
        validator=Validator(validator_account, 900_000_000, Fraction(1, 10), b"\1" * 32),
    )
    return genesis.with_params("proof", **proof)
