"""Transactions as they arrive: bytes to messages and signers (spec/chain.md §7)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from google.protobuf.message import Message

from localnet.registered_errors import TX_DECODE, TransactionRefused
from pocket_protocol.address import parse_address
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.cosmos.bank import v1beta1_pb2 as bank_pb2
from pocket_protocol.pb.cosmos.tx import v1beta1_pb2 as tx_pb2
from pocket_protocol.pb.pocket import proof_pb2
from pocket_protocol.wire import Undecodable, decode

_LENGTH_DELIMITED = 2

# message type -> the field that names its signer
SIGNER_FIELDS: dict[type[Message], str] = {
    proof_pb2.MsgCreateClaim: "supplier_operator_address",
    proof_pb2.MsgSubmitProof: "supplier_operator_address",
    bank_pb2.MsgSend: "from_address",
}
MESSAGE_TYPES = {f"/{kind.DESCRIPTOR.full_name}": kind for kind in SIGNER_FIELDS}


def tx_hash(tx_bytes: bytes) -> str:
    """Return the hash a transaction is known by: upper-case hex."""
    return sha256(tx_bytes).hexdigest().upper()


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded transaction. `signers` are the distinct signer addresses in message order."""

    tx_bytes: bytes
    raw: tx_pb2.TxRaw
    body: tx_pb2.TxBody
    auth_info: tx_pb2.AuthInfo
    messages: tuple[Message, ...]
    signers: tuple[str, ...]

    @property
    def hash(self) -> str:
        return tx_hash(self.tx_bytes)

    @property
    def timeout_ns(self) -> int:
        """The timeout timestamp in nanoseconds since the epoch, 0 when there is none."""
        timeout = self.body.timeout_timestamp
        return timeout.seconds * 10**9 + timeout.nanos if self.body.HasField("timeout_timestamp") else 0

    @property
    def fee_upokt(self) -> int:
        return sum(int(coin.amount or 0) for coin in self.auth_info.fee.amount if coin.denom == "upokt")

    @property
    def payer(self) -> str:
        return self.auth_info.fee.payer or self.signers[0]


def _messages(body: tx_pb2.TxBody) -> tuple[Message, ...]:
    messages = []
    for wrapped in body.messages:
        kind = MESSAGE_TYPES.get(wrapped.type_url)
        if kind is None:
            raise TransactionRefused(TX_DECODE, f"unable to resolve type URL {wrapped.type_url}")
        messages.append(decode(kind, wrapped.value))
    return tuple(messages)


def signer_of(message: Message) -> str:
    return str(getattr(message, SIGNER_FIELDS[type(message)]))


def decode_transaction(tx_bytes: bytes) -> Transaction:
    """Read a transaction. Raises `TransactionRefused` (sdk/2)."""
    wire_type = tx_bytes[0] & 7 if tx_bytes else 0
    if wire_type != _LENGTH_DELIMITED:
        text = f"expected {_LENGTH_DELIMITED} wire type, got {wire_type}: {TX_DECODE.text}"
        raise TransactionRefused(TX_DECODE, text)
    try:
        raw = decode(tx_pb2.TxRaw, tx_bytes)
        body = decode(tx_pb2.TxBody, raw.body_bytes)
        auth_info = decode(tx_pb2.AuthInfo, raw.auth_info_bytes)
        messages = _messages(body)
        signers = tuple(dict.fromkeys(signer_of(message) for message in messages))
        for signer in signers:
            parse_address(signer)
        fee_amounts = [coin.amount for coin in auth_info.fee.amount]
    except (Undecodable, Malformed) as error:
        raise TransactionRefused(TX_DECODE, f"{error}: {TX_DECODE.text}") from error
    if not all(amount.isascii() and amount.isdigit() for amount in fee_amounts):
        raise TransactionRefused(TX_DECODE, f"fee is no amount: {TX_DECODE.text}")
    return Transaction(tx_bytes, raw, body, auth_info, messages, signers)
