"""What a chain starts from (decisions.md I): parameters, accounts, services, applications, suppliers, gateways.

A genesis file is YAML; docs/localnet.md shows every key. Wherever an address is wanted, an account's name may
stand. Amounts are whole uPOKT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from localnet import state as tables
from localnet.state import Account, State, Tables
from localnet.validator import Validator
from pocket_protocol.address import address_of, module_address, parse_address
from pocket_protocol.coin import coin_of, upokt_of
from pocket_protocol.curve import Curve
from pocket_protocol.errors import Malformed
from pocket_protocol.params_history import ParamsHistory
from pocket_protocol.pb.cosmos.base.v1beta1_pb2 import Coin
from pocket_protocol.pb.pocket import (
    application_pb2,
    gateway_pb2,
    proof_pb2,
    service_pb2,
    session_pb2,
    shared_pb2,
    supplier_pb2,
    tokenomics_pb2,
)
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.signer import PrivateKey

_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MODULES: dict[str, type[Message]] = {
    "shared": shared_pb2.Params,
    "session": session_pb2.Params,
    "service": service_pb2.Params,
    "proof": proof_pb2.Params,
    "supplier": supplier_pb2.Params,
    "application": application_pb2.Params,
    "gateway": gateway_pb2.Params,
    "tokenomics": tokenomics_pb2.Params,
}
MODULE_ACCOUNTS: dict[str, tuple[str, ...]] = {
    "fee_collector": (),
    "distribution": (),
    "mint": ("minter",),
    "proof": ("minter", "burner"),
    "tokenomics": ("minter", "burner"),
    "service": ("minter", "burner"),
    "application": ("minter", "burner", "staking"),
    "supplier": ("minter", "burner", "staking"),
    "gateway": ("minter", "burner", "staking"),
}
_CONSENSUS_KEY = hashlib.sha256(b"localnet validator").digest()


class GenesisInvalid(Malformed):
    """A genesis that no chain can start from; the text says where."""

    reason = "genesis_invalid"
    summary = "genesis cannot be used"


@dataclass(frozen=True, slots=True)
class GenesisAccount:
    """An account with its key, where the chain shall know it, and its balance."""

    address: str
    public_key: bytes = b""
    upokt: int = 0
    number: int | None = None  # None: in order


@dataclass(frozen=True, slots=True)
class Genesis:
    """Everything block 1 finds."""

    chain_id: str
    params: Mapping[str, Message]
    accounts: tuple[GenesisAccount, ...]
    services: tuple[shared_pb2.Service, ...] = ()
    applications: tuple[application_pb2.Application, ...] = ()
    suppliers: tuple[shared_pb2.Supplier, ...] = ()
    gateways: tuple[gateway_pb2.Gateway, ...] = ()
    validator: Validator = field(
        default_factory=lambda: Validator(
            module_address("mint"), 900_000_000, Fraction(1, 10), _CONSENSUS_KEY
        )
    )

    def with_params(self, module: str, **values: Any) -> Genesis:
        """Return this genesis with some parameters of a module replaced; coins are given as uPOKT."""
        changed = read_message(MODULES[module], values, f"params.{module}", self.params[module])
        return replace(self, params={**self.params, module: changed})

    def tables(self) -> Tables:
        """Return the state that block 1 builds on. Raises `GenesisInvalid`."""
        state = State({})
        for module, params in self.params.items():
            state.put(tables.PARAMS, module, params)
        state.put(tables.PARAMS, "validator", self.validator)
        shared = SharedParams.from_proto(self.params["shared"])  # type: ignore[arg-type]
        shared.validate()
        state.put(tables.SHARED_HISTORY, "", ParamsHistory(shared))
        self._put_entities(state)
        self._put_accounts(state)
        return state.tables()

    def _put_entities(self, state: State) -> None:
        for service in self.services:
            state.put(tables.SERVICE, service.id, service)
        for gateway in self.gateways:
            state.put(tables.GATEWAY, gateway.address, gateway)
        for application in self.applications:
            state.put(tables.APPLICATION, application.address, application)
        for supplier in self.suppliers:
            stored = shared_pb2.Supplier()
            stored.CopyFrom(supplier)
            if not stored.service_config_history:
                stored.service_config_history.extend(
                    shared_pb2.ServiceConfigUpdate(
                        operator_address=supplier.operator_address, service=service, activation_height=1
                    )
                    for service in sorted(supplier.services, key=lambda service: service.service_id)
                )
            del stored.services[:]
            state.put(tables.SUPPLIER, stored.operator_address, stored)

    def _put_accounts(self, state: State) -> None:
        supply = number = 0
        for account in self.accounts:
            number = number if account.number is None else account.number
            known = Account(account.address, number, public_key=account.public_key)
            state.put(tables.ACCOUNT, account.address, known)
            bonded = self.validator.stake_upokt if account.address == self.validator.account_address else 0
            state.put(tables.BALANCE, account.address, max(account.upokt - bonded, 0))
            supply += max(account.upokt, bonded)
            number += 1
        number = max([number, *(account.number for _, account in state.items(tables.ACCOUNT))]) + 1
        staked = {
            "application": sum(upokt_of(application.stake) for application in self.applications),
            "supplier": sum(upokt_of(supplier.stake) for supplier in self.suppliers),
            "gateway": sum(upokt_of(gateway.stake) for gateway in self.gateways),
        }
        for offset, (module, permissions) in enumerate(MODULE_ACCOUNTS.items()):
            address = module_address(module)
            account_of_module = Account(address, number + offset, module=module, permissions=permissions)
            state.put(tables.ACCOUNT, address, account_of_module)
            state.put(tables.BALANCE, address, staked.get(module, 0))
            supply += staked.get(module, 0)
        state.put(tables.SUPPLY, "", supply)


def read_message(
    kind: type[Message], content: Mapping[str, Any], where: str, base: Message | None = None
) -> Any:
    """Return a message from YAML or JSON values over `base`; a number stands for uPOKT where a coin is wanted.

    Raises `GenesisInvalid`.
    """
    message = kind()
    if base is not None:
        message.CopyFrom(base)
    prepared: dict[str, Any] = {}
    for name, value in content.items():
        member = kind.DESCRIPTOR.fields_by_name.get(name)
        if member is None:
            raise GenesisInvalid(f"{where}.{name}: there is no such key")
        if member.message_type is Coin.DESCRIPTOR and isinstance(value, int):
            value = {"denom": "upokt", "amount": str(value)}
        prepared[name] = value
        message.ClearField(name)
    try:
        return ParseDict(prepared, message)
    except (ParseError, TypeError, ValueError) as error:
        raise GenesisInvalid(f"{where}: {error}") from error


class _Reader:
    """One genesis document, with the names of its accounts."""

    def __init__(self, content: Any, curve: Curve, defaults: Mapping[str, Message]) -> None:
        if not isinstance(content, dict):
            raise GenesisInvalid("a mapping is needed at the top")
        self.content, self.curve, self.defaults = content, curve, defaults
        self.names: dict[str, str] = {}

    def address(self, value: Any, where: str) -> str:
        if value in self.names:
            return self.names[value]
        try:
            parse_address(str(value))
        except Malformed as error:
            raise GenesisInvalid(
                f"{where}: {value!r} is no account's name and no address: {error}"
            ) from error
        return str(value)

    def entries(self, key: str) -> list[tuple[str, dict[str, Any]]]:
        found = self.content.get(key) or []
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise GenesisInvalid(f"{key}: a list of mappings is needed")
        return [(f"{key}[{index}]", entry) for index, entry in enumerate(found)]

    def account(self, where: str, entry: dict[str, Any]) -> GenesisAccount:
        public_key = b""
        try:
            if "private_key" in entry:
                public_key = PrivateKey.from_hex(str(entry["private_key"])).public_key(self.curve)
            elif "public_key" in entry:
                public_key = bytes.fromhex(str(entry["public_key"]))
            address = str(entry["address"]) if "address" in entry else address_of(public_key)
        except (Malformed, ValueError) as error:
            raise GenesisInvalid(f"{where}: {error}") from error
        if "name" in entry:
            self.names[str(entry["name"])] = address
        if entry.get("hide_public_key"):
            public_key = b""
        return GenesisAccount(address, public_key, amount(entry.get("balance_upokt", 0), where))

    def application(self, where: str, entry: dict[str, Any]) -> application_pb2.Application:
        application = application_pb2.Application(
            address=self.address(entry.get("account"), where),
            stake=coin_of(amount(entry.get("stake_upokt"), where)),
            delegatee_gateway_addresses=[self.address(name, where) for name in entry.get("gateways", [])],
        )
        for service in entry.get("services", []):
            application.service_configs.add(service_id=service)
        if entry.get("per_session_spend_limit_upokt"):
            limit = amount(entry["per_session_spend_limit_upokt"], where)
            application.per_session_spend_limit.CopyFrom(coin_of(limit))
        return application

    def supplier(self, where: str, entry: dict[str, Any]) -> shared_pb2.Supplier:
        operator = self.address(entry.get("operator"), where)
        owner = self.address(entry["owner"], where) if "owner" in entry else operator
        supplier = shared_pb2.Supplier(
            operator_address=operator,
            owner_address=owner,
            stake=coin_of(amount(entry.get("stake_upokt"), where)),
        )
        for service in entry.get("services", []):
            shares = service.get("rev_share") or [{"address": owner, "percent": 100}]
            supplier.services.append(
                read_message(
                    shared_pb2.SupplierServiceConfig,
                    {
                        "service_id": service.get("id"),
                        "endpoints": service.get("endpoints", []),
                        "rev_share": [
                            {
                                "address": self.address(share.get("address"), where),
                                "rev_share_percentage": share.get("percent"),
                            }
                            for share in shares
                        ],
                    },
                    where,
                )
            )
        return supplier

    def genesis(self) -> Genesis:
        accounts = tuple(self.account(*entry) for entry in self.entries("accounts"))
        params = dict(self.defaults)
        for module, values in (self.content.get("params") or {}).items():
            if module not in MODULES:
                raise GenesisInvalid(f"params.{module}: there is no such module")
            if module == "tokenomics" and values.get("dao_reward_address"):
                values["dao_reward_address"] = self.address(values["dao_reward_address"], "params.tokenomics")
            params[module] = read_message(MODULES[module], values, f"params.{module}", params[module])
        return Genesis(
            chain_id=str(self.content.get("chain_id", "pocket")),
            params=params,
            accounts=accounts,
            services=tuple(self.service(*entry) for entry in self.entries("services")),
            applications=tuple(self.application(*entry) for entry in self.entries("applications")),
            suppliers=tuple(self.supplier(*entry) for entry in self.entries("suppliers")),
            gateways=tuple(self.gateway(*entry) for entry in self.entries("gateways")),
            validator=self.validator(),
        )

    def service(self, where: str, entry: dict[str, Any]) -> shared_pb2.Service:
        return shared_pb2.Service(
            id=str(entry.get("id", "")),
            name=str(entry.get("name") or entry.get("id", "")),
            compute_units_per_relay=amount(entry.get("compute_units_per_relay"), where),
            owner_address=self.address(entry.get("owner"), where),
        )

    def gateway(self, where: str, entry: dict[str, Any]) -> gateway_pb2.Gateway:
        return gateway_pb2.Gateway(
            address=self.address(entry.get("account"), where),
            stake=coin_of(amount(entry.get("stake_upokt"), where)),
        )

    def validator(self) -> Validator:
        entry = self.content.get("validator") or {}
        return Validator(
            account_address=self.address(entry.get("account", module_address("mint")), "validator"),
            stake_upokt=amount(entry.get("stake_upokt", 900_000_000), "validator"),
            commission=Fraction(str(entry.get("commission", "0.1"))),
            consensus_key=_CONSENSUS_KEY,
        )


def amount(value: Any, where: str) -> int:
    """Return a whole, non-negative number. Raises `GenesisInvalid`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise GenesisInvalid(f"{where}: {value!r} is not a whole number of 0 or more")
    return value


def read_genesis(content: Any, curve: Curve) -> Genesis:
    """Return the genesis of a decoded YAML document. Raises `GenesisInvalid`."""
    from localnet.default_genesis import default_params

    try:
        genesis = _Reader(content, curve, default_params()).genesis()
        genesis.tables()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise GenesisInvalid(f"genesis cannot be used: {error!r}") from error
    except GenesisInvalid:
        raise
    except Malformed as error:
        raise GenesisInvalid(str(error)) from error
    return genesis


def load_genesis(path: Path, curve: Curve) -> Genesis:
    """Read a genesis file: ours in YAML, or a Cosmos genesis.json. Raises `GenesisInvalid`, OSError."""
    from localnet.cosmos_genesis import is_cosmos_genesis, read_cosmos_genesis

    try:
        content = yaml.load(path.read_text(), _Loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise GenesisInvalid(f"{path}: {error}") from error
    read: Callable[..., Genesis] = read_genesis
    if is_cosmos_genesis(content):
        read = read_cosmos_genesis
    try:
        return read(content, curve)
    except GenesisInvalid as error:
        raise GenesisInvalid(f"{path}: {error}") from error
