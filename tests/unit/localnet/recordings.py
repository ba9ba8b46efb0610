"""What a real node said (tests/recorded.py), and the genesis that makes the local chain say it again."""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Iterable, Iterator
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
from tests import recorded
from tests.vectors import load

CURVE = load_curve()
_GAS = re.compile(r"with gas used: '\d+'")
# A block as the reference's miner publishes it, in what the store's monitor wrote.
_PUBLISHED = re.compile(r'\\"height\\":(\d+),\\"hash\\":\\"([A-Za-z0-9+/=]+)\\"')

# Of the chain that chain_live and chain_live2 come from; they show in its settlements.
_SERVICE_OWNER = "pokt1cwnu460557x0z78jv3hhc7356hhkrgc86c87q5"
_VALIDATOR_ACCOUNT = "pokt18kk3aqe2pjz7x7993qp2pjt95ghurra9682tyn"
_DAO = "pokt1eeeksh2tvkh7wzmfrljnhw4wrhs55lcuvmekkw"


def recorded_genesis() -> dict[str, Any]:
    """The genesis.json of the chain of spec/live.md."""
    return recorded.load("localnet/genesis.json")  # type: ignore[no-any-return]


def recorded_grpc() -> dict[str, dict[str, Any]]:
    """Each gRPC method's recording, by name; none where there are no recordings."""
    paths = sorted(recorded.path("localnet/grpc").glob("[!_]*.json"))
    return {path.stem: recorded.load(f"localnet/grpc/{path.name}") for path in paths}


def recorded_rpc(name: str) -> dict[str, Any]:
    """A call of CometBFT's RPC and its answer."""
    return recorded.load(f"localnet/cometbft/{name}.json")  # type: ignore[no-any-return]


@functools.cache
def recorded_block_hashes() -> dict[int, bytes]:
    """The hash of each block that was published to the store or whose header, or next header, was read."""
    hashes: dict[int, bytes] = {}
    for path in recorded.path("localnet/cometbft").glob("*.json"):
        hashes.update(_hashes_in(json.loads(path.read_text())))
    for path in recorded.path("localnet/redis").glob("monitor-*.txt"):
        for height, known in _PUBLISHED.findall(path.read_text()):
            hashes[int(height)] = base64.b64decode(known)
    return hashes


def _hashes_in(value: Any) -> Iterator[tuple[int, bytes]]:
    """Yield height and hash of each block that some part of an RPC answer tells of."""
    if isinstance(value, list):
        for entry in value:
            yield from _hashes_in(entry)
    elif isinstance(value, dict):
        if "last_block_id" in value:
            yield int(value["height"]) - 1, bytes.fromhex(value["last_block_id"]["hash"])
        if "block_id" in value and "block" in value:
            yield int(value["block"]["header"]["height"]), bytes.fromhex(value["block_id"]["hash"])
        for entry in value.values():
            yield from _hashes_in(entry)


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
    genesis = read_cosmos_genesis(recorded_genesis(), CURVE)
    chain = LocalChain(genesis, CURVE, fixture=fixture, now_ns=lambda: start_ns)
    chain.jump_to(height)
    return chain


def live_genesis(
    live: dict[str, Any], account_numbers: dict[str, int], proof: dict[str, int], mint_ratio: float = 1.0
) -> Genesis:
    """Return a genesis for a lifecycle of chain_live: everything its session shows, and its ring's keys."""
    response = session_pb2.QueryGetSessionResponse.FromString(bytes.fromhex(live["session_response_hex"]))
    keys = {member["address"]: member["public_key_hex"] for member in load("chain_live")["ring"]}
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
    tokenomics = tokenomics_pb2.Params()
    tokenomics.CopyFrom(default_params()["tokenomics"])  # type: ignore[arg-type]
    tokenomics.dao_reward_address = _DAO
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
                owner_address=_SERVICE_OWNER,
            ),
        ),
        applications=(response.session.application,),
        suppliers=tuple(suppliers),
        validator=Validator(_VALIDATOR_ACCOUNT, 900_000_000, Fraction(1, 10), b"\1" * 32),
    )
    return genesis.with_params("proof", **proof)
