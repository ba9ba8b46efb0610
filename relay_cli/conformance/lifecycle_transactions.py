"""Checks of the transactions in chain_live*.json: built again byte by byte, their signatures verified."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from pocket_protocol.address import parse_address
from pocket_protocol.closest_proof import ClosestProof, verify_strict
from pocket_protocol.coin import upokt_of
from pocket_protocol.errors import PocketError
from pocket_protocol.pb.cosmos.bank.v1beta1_pb2 import MsgSend
from pocket_protocol.pb.cosmos.base.abci.v1beta1_pb2 import TxMsgData, TxResponse
from pocket_protocol.pb.cosmos.crypto.secp256k1_pb2 import PubKey
from pocket_protocol.pb.cosmos.tx.v1beta1_pb2 import BroadcastTxResponse, SignDoc
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim, MsgSubmitProof
from pocket_protocol.session_header import validate_session_header
from pocket_protocol.signer import verify
from pocket_protocol.smst import Root
from pocket_protocol.tx import (
    Terms,
    Transaction,
    decode_transaction,
    sign_doc_bytes,
    signed_transaction,
    tx_hash,
    type_url,
)
from pocket_protocol.types import Path, PublicKey, Upokt
from pocket_protocol.wire import decode, encode
from relay_cli.conformance.check import Case, attempt
from relay_cli.conformance.recorded_session import Document, session_header, tree_with
from relay_cli.conformance.shared_curve import shared_curve


def build_message(stated: Mapping[str, Any]) -> Message:
    """Return the message that the file states field by field; of a coin transfer it has the bytes only."""
    if stated["type_url"] == type_url(MsgSend()):
        return decode(MsgSend, bytes.fromhex(stated["value_hex"]))
    common = {
        "supplier_operator_address": stated["supplier_operator_address"],
        "session_header": session_header(stated["session_header"]),
    }
    if stated["type_url"] == type_url(MsgCreateClaim()):
        return MsgCreateClaim(**common, root_hash=bytes.fromhex(stated["root_hash_hex"]))
    return MsgSubmitProof(**common, proof=bytes.fromhex(stated["proof_hex"]))


def _why_invalid(message: MsgCreateClaim | MsgSubmitProof) -> str:
    """Return the refusal of a message's basic form, empty when it is well-formed."""
    try:
        parse_address(message.supplier_operator_address)
        validate_session_header(message.session_header)
        if isinstance(message, MsgCreateClaim):
            Root.from_bytes(message.root_hash)
    except PocketError as error:
        return str(error)
    return ""


def _message_cases(name: str, stated: Mapping[str, Any], document: Document) -> Iterator[Case]:
    message = build_message(stated)
    yield Case(f"{name}/type_url", stated["type_url"], type_url(message))
    yield Case(f"{name}/value", stated["value_hex"], encode(message).hex())
    if isinstance(message, (MsgCreateClaim, MsgSubmitProof)):
        header = stated["session_header"]["marshaled_hex"]
        yield Case(f"{name}/session_header", header, encode(message.session_header).hex())
        yield Case(f"{name}/validate_basic", stated["validate_basic_error"], _why_invalid(message))
    if isinstance(message, MsgSubmitProof):
        yield Case(f"{name}/proof", stated["proof_hex"], attempt(lambda: _proved_again(message, document)))


def _proved_again(message: MsgSubmitProof, document: Document) -> str:
    """Return the proof at the same path, made from the tree of the file that has its leaf."""
    submitted = ClosestProof.from_bytes(message.proof)
    tree = tree_with(document, submitted)
    proof = tree.prove(Path(submitted.path))
    return proof.to_bytes().hex() if verify_strict(proof, tree.root()) else "not a proof of the tree's root"


def _public_key(transaction: Transaction) -> PublicKey:
    return PublicKey(decode(PubKey, transaction.auth_info.signer_infos[0].public_key.value).key)


def _terms(transaction: Transaction, step: Mapping[str, Any], chain_id: str) -> Terms:
    """Return the terms of a recorded transaction: what is not stated in the step is read from it."""
    fee = transaction.auth_info.fee
    return Terms(
        chain_id=chain_id,
        account_number=step["account_number"],
        public_key=_public_key(transaction),
        gas_limit=fee.gas_limit,
        fee_upokt=Upokt(sum(map(upokt_of, fee.amount))),
        memo=transaction.body.memo,
        timeout_timestamp_ns=transaction.timeout_timestamp_ns,
        timeout_height=transaction.body.timeout_height,
        unordered=step["unordered"],
        sequence=transaction.auth_info.signer_infos[0].sequence,
    )


def _built_again(step: Mapping[str, Any]) -> dict[str, object]:
    """Return what the file says of a transaction, built from its messages and terms."""
    transaction = decode_transaction(bytes.fromhex(step["tx_raw_hex"]))
    chain_id = decode(SignDoc, bytes.fromhex(step["sign_doc_bytes_hex"])).chain_id
    (signature,) = transaction.signatures
    signed: list[bytes] = []

    def sign(document: bytes) -> bytes:
        signed.append(document)
        return signature

    messages = [build_message(message) for message in step["messages"]]
    built = signed_transaction(messages, _terms(transaction, step, chain_id), sign)
    own = sign_doc_bytes(
        transaction.body_bytes, transaction.auth_info_bytes, chain_id, step["account_number"]
    )
    return {
        "sign_doc_bytes_hex": signed[0].hex(),
        "tx_raw_hex": built.hex(),
        "tx_hash": tx_hash(built),
        "txhash": tx_hash(built),
        "signature": verify(shared_curve(), _public_key(transaction), own, signature),
    }


def _broadcast_answer(step: Mapping[str, Any]) -> bytes:
    answer = TxResponse(
        txhash=step["txhash"],
        codespace=step["codespace"],
        code=step["check_tx_code"],
        raw_log=step["raw_log"],
    )
    return encode(BroadcastTxResponse(tx_response=answer))


def check_steps(steps: list[Mapping[str, Any]], document: Document) -> Iterator[Case]:
    """Transactions that were broadcast; a simulation is the chain's answer alone and states no bytes."""
    for position, step in enumerate(steps):
        if "tx_raw_hex" not in step:
            continue
        name = f"{position} {step['what']}"
        for index, message in enumerate(step["messages"]):
            yield from _message_cases(f"{name}/message {index}", message, document)
        built = attempt(lambda step=step: _built_again(step))
        for field, expected in {**step, "signature": True}.items():
            if isinstance(built, str):
                yield Case(f"{name}/{field}", expected, built)
            elif field in built:
                yield Case(f"{name}/{field}", expected, built[field])
        yield Case(f"{name}/response", step["response_proto_hex"], _broadcast_answer(step).hex())


def _message_responses(tx_bytes: bytes) -> str:
    """Return what a block's result carries for a transaction whose messages all succeeded, in base64."""
    responses = TxMsgData()
    for message in decode_transaction(tx_bytes).messages:
        responses.msg_responses.add(type_url=f"{type_url(message)}Response")
    return base64.b64encode(encode(responses)).decode()


def check_tx_results(results: Mapping[str, Mapping[str, Any]], document: Document) -> Iterator[Case]:
    """Transactions as a block has them: their hash, the bytes that were broadcast, the data of success."""
    sent = {step["txhash"]: step["tx_raw_hex"] for step in document["steps"] if "tx_raw_hex" in step}
    for name, stated in results.items():
        result = stated["result"]
        tx_bytes = base64.b64decode(result["tx"])
        yield Case(f"{name}/hash", result["hash"], tx_hash(tx_bytes))
        yield Case(f"{name}/tx", sent.get(result["hash"]), tx_bytes.hex())
        outcome = result["tx_result"]
        succeeded = outcome["code"] == 0
        data = attempt(lambda tx_bytes=tx_bytes: _message_responses(tx_bytes)) if succeeded else None
        yield Case(f"{name}/data", outcome["data"], data)
