"""Checks of chain_tx.json: transactions from their messages to their hash, fees, message checks."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from google.protobuf.message import Message

from pocket_protocol import proof_messages, signer, tx
from pocket_protocol.address import address_of
from pocket_protocol.curve import Curve, load_curve
from pocket_protocol.gas import adjusted_gas, fee_upokt, parse_gas_price
from pocket_protocol.pb.cosmos.bank.v1beta1_pb2 import MsgSend
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim, MsgSubmitProof
from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from pocket_protocol.signer import PrivateKey
from pocket_protocol.types import SupplierAddress, Upokt
from pocket_protocol.wire import decode, encode
from relay_cli.conformance.check import Case, Context, VectorFile
from relay_cli.conformance.relay_requests import contained, refusal

Recorded = Mapping[str, Any]

_SUPPLIER = SupplierAddress("pokt1h3d2uxyj0wkvn003k5udwymyqm9nkmkmt5t0kn")
_HEADER = {
    "application_address": "pokt1h945jkxqe2cxszwaphkdnewptm23xjqnjnq9jk",
    "service_id": "anvil",
    "session_id": "aa",
    "session_start_block_height": 1,
    "session_end_block_height": 10,
}
_DIGEST = bytes.fromhex("73f45c0337ce06da02ebfa6bd1ecb19eb64ab02a0e31e67ada4615c3a697054d")
_ROOT = _DIGEST + (10).to_bytes(8, "big") + (2).to_bytes(8, "big")

# What each case of message_validate_basic changes in a good message: the file has the texts only.
_CHANGES: dict[str, dict[str, object]] = {
    "claim ok": {},
    "claim bad address": {"supplier": "pokt1bad"},
    "claim nil header": {"header": None},
    "claim header without session id": {"session_id": ""},
    "claim header start 0": {"session_start_block_height": 0},
    "claim header end<=start": {"session_end_block_height": 1},
    "claim header bad app": {"application_address": "x"},
    "claim header bad service": {"service_id": "a b"},
    "claim header empty service": {"service_id": ""},
    "claim header long service": {"service_id": "s" * 43},
    "claim root 40 bytes": {"root_hash": _ROOT[:40]},
    "claim root 49 bytes": {"root_hash": _ROOT + b"\0"},
    "claim root empty": {"root_hash": b""},
    "claim count zero": {"root_hash": _ROOT[:40] + bytes(8)},
    "claim sum zero": {"root_hash": _DIGEST + bytes(8) + _ROOT[40:]},
    "proof ok": {},
    "proof bad address": {"supplier": "pokt1bad"},
    "proof nil header": {"header": None},
    "proof bad header": {"session_id": ""},
    "proof empty": {"proof": b""},
}


@functools.cache
def _curve() -> Curve:
    return load_curve(allow_slow_python=True)


def _message(recorded: Recorded) -> Message:
    if "session_header" not in recorded:
        return decode(MsgSend, bytes.fromhex(recorded["value_hex"]))
    fields = {field: value for field, value in recorded["session_header"].items() if field != "marshaled_hex"}
    supplier, header = SupplierAddress(recorded["supplier_operator_address"]), SessionHeader(**fields)
    if "root_hash_hex" in recorded:
        return proof_messages.create_claim(supplier, header, bytes.fromhex(recorded["root_hash_hex"]))
    return proof_messages.submit_proof(supplier, header, bytes.fromhex(recorded["proof_hex"]))


def _basic_check(message: Message) -> str:
    if isinstance(message, MsgCreateClaim):
        return refusal(proof_messages.validate_create_claim, message)
    if isinstance(message, MsgSubmitProof):
        return refusal(proof_messages.validate_submit_proof, message)
    return ""


def _message_cases(name: str, recorded: Recorded) -> Iterator[Case]:
    message = _message(recorded)
    packed = tx.pack(message)
    yield Case(f"{name} type_url", recorded["type_url"], packed.type_url)
    yield Case(f"{name} value_hex", recorded["value_hex"], packed.value.hex())
    if isinstance(message, MsgCreateClaim | MsgSubmitProof):
        header = encode(message.session_header).hex()
        yield Case(f"{name} session_header", recorded["session_header"]["marshaled_hex"], header)
        yield Case(f"{name} validate_basic_error", recorded["validate_basic_error"], _basic_check(message))


def _terms(recorded: Recorded, key: PrivateKey) -> tx.Terms:
    timeout = recorded["timeout_timestamp_unix_nanos"]
    return tx.Terms(
        chain_id=recorded["chain_id"],
        account_number=recorded["account_number"],
        public_key=key.public_key(_curve()),
        gas_limit=recorded["gas_limit"],
        fee_upokt=Upokt(sum(int(coin["amount"]) for coin in recorded["fee"])),
        memo=recorded["memo"],
        timeout_timestamp_ns=int(timeout) if timeout else None,
        timeout_height=recorded["timeout_height"],
        unordered=recorded["unordered"],
        sequence=recorded["sequence_signed"],
    )


def _timeout_text(timeout_ns: int | None) -> str:
    if timeout_ns is None:
        return ""
    seconds, nanos = divmod(timeout_ns, tx.NANOS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def _transaction_cases(name: str, recorded: Recorded) -> Iterator[Case]:
    key = PrivateKey.from_hex(recorded["private_key_hex"])
    terms = _terms(recorded, key)
    messages = [_message(message) for message in recorded["messages"]]
    body, auth_info = tx.body_bytes(messages, terms), tx.auth_info_bytes(terms)
    document = tx.sign_doc_bytes(body, auth_info, terms.chain_id, terms.account_number)
    signed = tx.signed_transaction(messages, terms, functools.partial(signer.sign, _curve(), key))
    read = tx.decode_transaction(signed)
    for field, got in (
        ("public_key_hex", terms.public_key.hex()),
        ("signer_address", address_of(terms.public_key)),
        ("body_bytes_hex", body.hex()),
        ("auth_info_bytes_hex", auth_info.hex()),
        ("sign_doc_bytes_hex", document.hex()),
        ("sign_doc_sha256_hex", sha256(document).hexdigest()),
        ("signature_hex", read.signatures[0].hex()),
        ("tx_raw_hex", signed.hex()),
        ("tx_hash", tx.tx_hash(signed)),
        ("timeout_timestamp", _timeout_text(read.timeout_timestamp_ns)),
    ):
        yield Case(f"{name} {field}", recorded[field], got)
    if recorded["gas_price"]:
        fee = fee_upokt(terms.gas_limit, parse_gas_price(recorded["gas_price"]))
        yield Case(f"{name} fee", recorded["fee"], [{"amount": str(fee), "denom": "upokt"}])


def _all_cases(name: str, recorded: Recorded) -> Iterator[Case]:
    for index, message in enumerate(recorded["messages"]):
        yield from _message_cases(f"{name} message {index}", message)
    yield from _transaction_cases(name, recorded)


def _check_transactions(transactions: list[Recorded], _document: Recorded) -> Iterator[Case]:
    for recorded in transactions:
        name = f"case {recorded['case']}"
        yield from contained(name, _all_cases(name, recorded))


def _check_fees(cases: list[Recorded], _document: Recorded) -> Iterator[Case]:
    for index, case in enumerate(cases):
        fee = fee_upokt(case["gas_limit"], parse_gas_price(case["gas_price"]))
        yield Case(f"{index} fee", case["fee"], f"{fee}upokt" if fee else "")
        yield Case(f"{index} coins_len", case["coins_len"], 1 if fee else 0)


def _check_gas(cases: list[Recorded], _document: Recorded) -> Iterator[Case]:
    for index, case in enumerate(cases):
        got = adjusted_gas(case["simulated_gas"], case["gas_adjustment"])
        yield Case(f"{index} gas_limit", case["gas_limit"], got)


def _altered_message(name: str, changes: dict[str, object]) -> Message:
    supplier = SupplierAddress(str(changes.get("supplier", _SUPPLIER)))
    header: Any = SessionHeader(**{**_HEADER, **{key: changes[key] for key in _HEADER if key in changes}})
    if "header" in changes:
        header = changes["header"]
    if name.startswith("claim"):
        root: Any = changes.get("root_hash", _ROOT)
        return proof_messages.create_claim(supplier, header, root)
    proof: Any = changes.get("proof", b"proof")
    return proof_messages.submit_proof(supplier, header, proof)


def _check_messages(cases: list[Recorded], _document: Recorded) -> Iterator[Case]:
    for case in cases:
        name = case["case"]
        known = name in _CHANGES
        got = _basic_check(_altered_message(name, _CHANGES[name])) if known else "not a known case"
        yield Case(name, case["error"], got)


CHAIN_TX = VectorFile(
    "chain_tx",
    {
        "description": Context(),
        "transactions": _check_transactions,
        "fee_rounding": _check_fees,
        "gas_adjustment": _check_gas,
        "message_validate_basic": _check_messages,
    },
)
