"""Checks of chain_address.json: keys, addresses, account encodings, mnemonics, address parsing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from pocket_protocol.address import (
    CONSENSUS_PREFIX,
    VALIDATOR_PREFIX,
    address_bytes,
    address_of,
    encode_bech32,
    module_address,
    parse_address,
)
from pocket_protocol.errors import PocketError
from pocket_protocol.hd_key import key_of_mnemonic
from pocket_protocol.pb.cosmos.auth.v1beta1_pb2 import BaseAccount
from pocket_protocol.pb.cosmos.crypto.secp256k1_pb2 import PubKey
from pocket_protocol.ring_members import PLACEHOLDER_ADDRESS, PLACEHOLDER_PUBLIC_KEY
from pocket_protocol.signer import PrivateKey, sign
from pocket_protocol.wire import encode
from relay_cli.conformance.check import Case, Context, VectorFile
from relay_cli.conformance.shared_curve import shared_curve


def _any_of(type_url: str, value: bytes) -> AnyMessage:
    return AnyMessage(type_url=type_url, value=value)


def _accounts(public_key: bytes) -> dict[str, object]:
    """Return the account encodings of a key: its Any, and base accounts with and without it."""
    key = _any_of("/cosmos.crypto.secp256k1.PubKey", encode(PubKey(key=public_key)))
    address = address_of(public_key)
    account = encode(BaseAccount(address=address, pub_key=key, account_number=7, sequence=3))
    return {
        "pubkey_any_type_url": key.type_url,
        "pubkey_any_value_hex": key.value.hex(),
        "pubkey_any_bytes_hex": encode(key).hex(),
        "base_account_number_7_sequence_3_hex": account.hex(),
        "base_account_any_hex": encode(_any_of("/cosmos.auth.v1beta1.BaseAccount", account)).hex(),
        "base_account_without_pubkey_number_0_hex": encode(BaseAccount(address=address)).hex(),
    }


def _key_fields(entry: Mapping[str, Any]) -> dict[str, object]:
    curve = shared_curve()
    key = PrivateKey.from_hex(entry["private_key_hex"])
    public_key = key.public_key(curve)
    payload, message = address_bytes(public_key), entry["message_utf8"].encode()
    return {
        "public_key_compressed_hex": public_key.hex(),
        "address_bytes_hex": payload.hex(),
        "address_upper_hex": payload.hex().upper(),
        "bech32_account": address_of(public_key),
        "bech32_valcons": encode_bech32(CONSENSUS_PREFIX, payload),
        "bech32_valoper": encode_bech32(VALIDATOR_PREFIX, payload),
        "message_sha256_hex": hashlib.sha256(message).hexdigest(),
        "signature_hex": sign(curve, key, message).hex(),
        **_accounts(public_key),
    }


def _check_keys(keys: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in keys:
        try:
            fields = _key_fields(entry)
        except PocketError as error:
            fields = dict.fromkeys(entry, str(error))
        for field, expected in entry.items():
            if field not in ("name", "private_key_hex", "message_utf8"):
                yield Case(f"{entry['name']} {field}", expected, fields.get(field))


def _check_mnemonics(entries: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in entries:
        try:
            key = key_of_mnemonic(shared_curve(), entry["mnemonic"], entry["hd_path"])
        except PocketError as error:
            yield Case(f"{entry['name']} private_key_hex", entry["private_key_hex"], str(error))
            continue
        public_key = key.public_key(shared_curve())
        yield Case(f"{entry['name']} private_key_hex", entry["private_key_hex"], key.reveal().hex())
        yield Case(
            f"{entry['name']} public_key_compressed_hex", entry["public_key_compressed_hex"], public_key.hex()
        )
        yield Case(f"{entry['name']} bech32_account", entry["bech32_account"], address_of(public_key))


def _check_modules(entries: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in entries:
        address = module_address(entry["module"])
        yield Case(f"{entry['module']} bech32_account", entry["bech32_account"], address)
        yield Case(
            f"{entry['module']} address_bytes_hex", entry["address_bytes_hex"], parse_address(address).hex()
        )


def _check_parsing(entries: list[Mapping[str, Any]], document: Mapping[str, Any]) -> Iterator[Case]:
    for entry in entries:
        try:
            got: tuple[object, ...] = (True, parse_address(entry["input"]).hex(), "")
        except PocketError as error:
            got = (False, "", str(error))
        for field, value in zip(("ok", "address_bytes_hex", "error"), got, strict=True):
            yield Case(f"{entry['case']} {field}", entry[field], value)


def _check_placeholder(placeholder: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[Case]:
    key = PrivateKey.from_secret_text(placeholder["secret_utf8"].encode())
    public_key = key.public_key(shared_curve())
    yield Case("private_key_hex", placeholder["private_key_hex"], key.reveal().hex())
    yield Case("public_key_compressed_hex", placeholder["public_key_compressed_hex"], public_key.hex())
    yield Case("bech32_of_it", placeholder["bech32_of_it"], address_of(public_key))
    yield Case(
        "ring_address_string", placeholder["ring_address_string"], address_bytes(public_key).hex().upper()
    )
    yield Case(
        "constants",
        (placeholder["ring_address_string"], placeholder["public_key_compressed_hex"]),
        (PLACEHOLDER_ADDRESS, PLACEHOLDER_PUBLIC_KEY.hex()),
    )


CHAIN_ADDRESS = VectorFile(
    "chain_address",
    {
        "description": Context(),
        "keys": _check_keys,
        "mnemonics": _check_mnemonics,
        "module_accounts": _check_modules,
        "account_address_parsing": _check_parsing,
        "ring_placeholder": _check_placeholder,
    },
)
