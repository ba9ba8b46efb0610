"""Transactions as the node sees them: what the protocol core reads, with signers, fee and basic checks added
(spec/chain.md §7)."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from localnet import registered_errors as errors
from localnet.registered_errors import TransactionRefused
from pocket_protocol import tx
from pocket_protocol.address import parse_address
from pocket_protocol.coin import upokt_of
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.cosmos.bank import v1beta1_pb2 as bank_pb2
from pocket_protocol.pb.pocket import proof_pb2
from pocket_protocol.proof_messages import validate_create_claim, validate_submit_proof
from pocket_protocol.session_header import RegisteredError
from pocket_protocol.tx import UndecodableTransaction

# message type -> the field that names its signer
SIGNER_FIELDS: dict[type[Message], str] = {
    proof_pb2.MsgCreateClaim: "supplier_operator_address",
    proof_pb2.MsgSubmitProof: "supplier_operator_address",
    bank_pb2.MsgSend: "from_address",
}


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded transaction. `signers` are the distinct signer addresses in message order."""

    tx_bytes: bytes
    content: tx.Transaction
    signers: tuple[str, ...]
    fee_upokt: int

    @property
    def messages(self) -> tuple[Message, ...]:
        return self.content.messages

    @property
    def gas_limit(self) -> int:
        return self.content.auth_info.fee.gas_limit

    @property
    def unordered(self) -> bool:
        return self.content.body.unordered

    @property
    def timeout_ns(self) -> int:
        """The timeout timestamp in nanoseconds since the epoch, 0 when there is none."""
        return self.content.timeout_timestamp_ns or 0

    @property
    def payer(self) -> str:
        return self.content.auth_info.fee.payer or self.signers[0]


def signer_of(message: Message) -> str:
    return str(getattr(message, SIGNER_FIELDS[type(message)]))


def decode_transaction(tx_bytes: bytes) -> Transaction:
    """Read a transaction. Raises `TransactionRefused` (sdk/2)."""
    try:
        content = tx.decode_transaction(tx_bytes)
        signers = tuple(dict.fromkeys(signer_of(message) for message in content.messages))
        for signer in signers:
            parse_address(signer)
        fee = sum(upokt_of(coin) for coin in content.auth_info.fee.amount)
    except UndecodableTransaction as error:
        raise TransactionRefused.because(error) from error
    except Malformed as error:
        raise TransactionRefused.because(UndecodableTransaction(str(error))) from error
    return Transaction(tx_bytes, content, signers, fee)


def _check_send(message: bank_pb2.MsgSend) -> None:
    try:
        parse_address(message.to_address)
    except Malformed as error:
        raise TransactionRefused(errors.INVALID_ADDRESS, f"invalid to address: {error}") from error
    try:
        amounts = [upokt_of(coin) for coin in message.amount]
    except Malformed as error:
        raise TransactionRefused(errors.INVALID_COINS, str(error)) from error
    if len(amounts) != 1 or not amounts[0]:
        raise TransactionRefused(errors.INVALID_COINS, str(amounts))


def validate_basic(message: Message) -> None:
    """What can be said of a message without state. The node asks it first, so it is refused at CheckTx.

    Raises `TransactionRefused` with the module's code and text (spec/chain.md §5.1, §6.2).
    """
    try:
        if isinstance(message, proof_pb2.MsgCreateClaim):
            validate_create_claim(message)
        elif isinstance(message, proof_pb2.MsgSubmitProof):
            validate_submit_proof(message)
        elif isinstance(message, bank_pb2.MsgSend):
            _check_send(message)
    except RegisteredError as error:
        raise TransactionRefused.because(error) from error
