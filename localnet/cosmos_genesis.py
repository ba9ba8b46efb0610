"""The genesis.json of a real chain: the parts of it that matter here (shape: spec/chain.md appendix A)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from localnet.default_genesis import default_params
from localnet.genesis import MODULES, Genesis, GenesisAccount, GenesisInvalid, read_message
from localnet.validator import Validator
from pocket_protocol.address import decode_bech32, encode_bech32
from pocket_protocol.curve import Curve
from pocket_protocol.pb.pocket import application_pb2, gateway_pb2, shared_pb2


def is_cosmos_genesis(content: Any) -> bool:
    return isinstance(content, dict) and "app_state" in content


def read_cosmos_genesis(content: Mapping[str, Any], curve: Curve) -> Genesis:
    """Return the genesis of a decoded genesis.json. Raises `GenesisInvalid`."""
    try:
        return _read(content)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise GenesisInvalid(f"genesis.json cannot be used: {error!r}") from error


def _read(content: Mapping[str, Any]) -> Genesis:
    app = content["app_state"]
    params = default_params()
    for module, kind in MODULES.items():
        params[module] = read_message(kind, app[module]["params"], f"app_state.{module}.params")

    def listed(module: str, name: str, kind: Any) -> tuple[Any, ...]:
        entries = [*app[module].get(f"{name}List", []), *app[module].get(f"{name}_list", [])]
        return tuple(read_message(kind, entry, f"app_state.{module}.{name}List") for entry in entries)

    return Genesis(
        chain_id=content["chain_id"],
        params=params,
        accounts=_accounts(app),
        services=listed("service", "service", shared_pb2.Service),
        applications=listed("application", "application", application_pb2.Application),
        suppliers=listed("supplier", "supplier", shared_pb2.Supplier),
        gateways=listed("gateway", "gateway", gateway_pb2.Gateway),
        validator=_validator(app),
    )


def _accounts(app: Mapping[str, Any]) -> tuple[GenesisAccount, ...]:
    balances = {
        entry["address"]: sum(int(coin["amount"]) for coin in entry["coins"] if coin["denom"] == "upokt")
        for entry in app["bank"]["balances"]
    }
    accounts = []
    for entry in app["auth"]["accounts"]:
        key = (entry.get("pub_key") or {}).get("key", "")
        address = entry["address"]
        accounts.append(
            GenesisAccount(
                address, base64.b64decode(key), balances.get(address, 0), int(entry["account_number"])
            )
        )
    return tuple(accounts)


def _validator(app: Mapping[str, Any]) -> Validator:
    """Return the validator that the genesis transaction creates."""
    create = app["genutil"]["gen_txs"][0]["body"]["messages"][0]
    _, payload = decode_bech32(create["validator_address"])
    return Validator(
        account_address=encode_bech32("pokt", payload),
        stake_upokt=int(create["value"]["amount"]),
        commission=Fraction(create["commission"]["rate"]),
        consensus_key=base64.b64decode(create["pubkey"]["key"]),
    )
