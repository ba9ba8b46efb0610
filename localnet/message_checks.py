"""What can be said of a message without the chain's state: ValidateBasic (spec/chain.md §5.1, §6.2).

The node asks it before anything else, so that these refusals come at CheckTx with their registered codes.
"""

from __future__ import annotations

from google.protobuf.message import Message

from localnet import registered_errors as errors
from localnet.registered_errors import TransactionRefused
from pocket_protocol.address import parse_address
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.cosmos.bank import v1beta1_pb2 as bank_pb2
from pocket_protocol.pb.pocket import proof_pb2
from pocket_protocol.session_header import validate_session_header
from pocket_protocol.smst import DIGEST_SIZE, Root


def _check_claim(message: proof_pb2.MsgCreateClaim) -> None:
    try:
        parse_address(message.supplier_operator_address)
    except Malformed as error:
        raise TransactionRefused(errors.PROOF_INVALID_ADDRESS, message.supplier_operator_address) from error
    if not message.HasField("session_header"):
        raise TransactionRefused(errors.PROOF_INVALID_SESSION_HEADER, "session header is nil")
    try:
        validate_session_header(message.session_header)
    except Malformed as error:
        text = f"invalid session header: {error}"
        raise TransactionRefused(errors.PROOF_INVALID_SESSION_HEADER, text) from error
    _check_root(message.root_hash)


def _check_root(root_hash: bytes) -> None:
    if len(root_hash) != DIGEST_SIZE:
        detail = f"expecting root hash to be {DIGEST_SIZE} bytes, got {len(root_hash)} bytes"
        raise TransactionRefused(errors.PROOF_INVALID_ROOT_HASH, detail)
    root = Root.from_bytes(root_hash)
    for name, number in (("count", root.count), ("sum", root.sum)):
        if number == 0:
            detail = f"has zero {name} in Merkle root (hex) {root_hash.hex()}"
            raise TransactionRefused(errors.PROOF_INVALID_ROOT_HASH, detail)


def _check_proof(message: proof_pb2.MsgSubmitProof) -> None:
    address = message.supplier_operator_address
    try:
        parse_address(address)
    except Malformed as error:
        detail = f'supplier operator address "{address}", error: {error}'
        raise TransactionRefused(errors.INVALID_ADDRESS, detail) from error
    if not message.HasField("session_header"):
        raise TransactionRefused(errors.PROOF_INVALID_SESSION_HEADER, "session header is nil")
    try:
        validate_session_header(message.session_header)
    except Malformed as error:
        raise TransactionRefused(errors.PROOF_INVALID_SESSION_HEADER, str(error)) from error
    if not message.proof:
        raise TransactionRefused(errors.PROOF_INVALID_PROOF, "proof cannot be empty")


def _check_send(message: bank_pb2.MsgSend) -> None:
    try:
        parse_address(message.to_address)
    except Malformed as error:
        raise TransactionRefused(errors.INVALID_ADDRESS, f"invalid to address: {error}") from error
    amounts = [coin.amount for coin in message.amount]
    if len(amounts) != 1 or message.amount[0].denom != "upokt" or not amounts[0].isdigit() or not int(amounts[0]):
        raise TransactionRefused(errors.INVALID_COINS, ",".join(f"{c.amount}{c.denom}" for c in message.amount))


def validate_basic(message: Message) -> None:
    """Check one message. Raises `TransactionRefused` with the module's code and text."""
    if isinstance(message, proof_pb2.MsgCreateClaim):
        _check_claim(message)
    elif isinstance(message, proof_pb2.MsgSubmitProof):
        _check_proof(message)
    elif isinstance(message, bank_pb2.MsgSend):
        _check_send(message)
