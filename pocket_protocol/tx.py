"""Transactions: built, signed, hashed and read (spec/chain.md §7).

    TxRaw{body_bytes, auth_info_bytes, [signature]}    signature = Sign(SignDoc),  tx hash = SHA256(TxRaw)

The miner sends unordered transactions: sequence 0, and a timeout timestamp that is the nonce.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from pocket_protocol.canonical import BYTES, Undecodable, read_varint, varint
from pocket_protocol.coin import coin_of
from pocket_protocol.pb.cosmos.bank.v1beta1_pb2 import MsgSend
from pocket_protocol.pb.cosmos.crypto.secp256k1_pb2 import PubKey
from pocket_protocol.pb.cosmos.tx.signing.v1beta1_pb2 import SIGN_MODE_DIRECT
from pocket_protocol.pb.cosmos.tx.v1beta1_pb2 import AuthInfo, SignDoc, TxBody, TxRaw
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim, MsgSubmitProof
from pocket_protocol.session_header import RegisteredError
from pocket_protocol.types import PublicKey, Upokt
from pocket_protocol.wire import encode

MEMO: Final = "HA RelayMiner"
NANOS: Final = 1_000_000_000
MESSAGE_TYPES: Final[dict[str, type[Message]]] = {
    f"/{message_type.DESCRIPTOR.full_name}": message_type
    for message_type in (MsgCreateClaim, MsgSubmitProof, MsgSend)
}

M = TypeVar("M", bound=Message)
Sign = Callable[[bytes], bytes]  # the account's Sign: 64 bytes r‖s over SHA-256 of what it is given


class UndecodableTransaction(RegisteredError):
    """Bytes the network does not take for a transaction."""

    reason = "undecodable_transaction"
    summary = "tx parse error"
    codespace, code = "sdk", 2


@dataclass(frozen=True, slots=True)
class Terms:
    """All of a transaction but its messages. The defaults are those of an unordered one without a fee."""

    chain_id: str
    account_number: int
    public_key: PublicKey
    gas_limit: int = 0  # 0: to be simulated
    fee_upokt: Upokt = Upokt(0)  # noqa: RUF009
    memo: str = MEMO
    timeout_timestamp_ns: int | None = None  # nanoseconds since the epoch; must be set when unordered
    timeout_height: int = 0
    unordered: bool = True
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction as read from its bytes."""

    body_bytes: bytes
    auth_info_bytes: bytes
    signatures: tuple[bytes, ...]
    messages: tuple[Message, ...]
    body: TxBody
    auth_info: AuthInfo

    @property
    def timeout_timestamp_ns(self) -> int | None:
        """The timeout in nanoseconds since the epoch; None when there is none."""
        if not self.body.HasField("timeout_timestamp"):
            return None
        timeout = self.body.timeout_timestamp
        return timeout.seconds * NANOS + timeout.nanos


def type_url(message: Message) -> str:
    """Return the type URL under which `message` travels in a transaction."""
    return f"/{message.DESCRIPTOR.full_name}"


def pack(message: Message) -> AnyMessage:
    """Return `message` as it stands in a transaction or an account: its type URL and canonical bytes."""
    return AnyMessage(type_url=type_url(message), value=encode(message))


def body_bytes(messages: Sequence[Message], terms: Terms) -> bytes:
    """Return the bytes of the TxBody."""
    body = TxBody(
        messages=[pack(message) for message in messages],
        memo=terms.memo,
        timeout_height=terms.timeout_height,
        unordered=terms.unordered,
    )
    if terms.timeout_timestamp_ns is not None:
        seconds, nanos = divmod(terms.timeout_timestamp_ns, NANOS)
        body.timeout_timestamp.seconds, body.timeout_timestamp.nanos = seconds, nanos
    return encode(body)


def auth_info_bytes(terms: Terms) -> bytes:
    """Return the bytes of the AuthInfo: one direct signer, and the fee."""
    auth_info = AuthInfo()
    signer = auth_info.signer_infos.add(sequence=terms.sequence)
    signer.public_key.CopyFrom(pack(PubKey(key=terms.public_key)))
    signer.mode_info.single.mode = SIGN_MODE_DIRECT
    auth_info.fee.gas_limit = terms.gas_limit
    if terms.fee_upokt:
        auth_info.fee.amount.append(coin_of(terms.fee_upokt))
    return encode(auth_info)


def sign_doc_bytes(body: bytes, auth_info: bytes, chain_id: str, account_number: int) -> bytes:
    """Return the bytes that are signed."""
    return encode(
        SignDoc(body_bytes=body, auth_info_bytes=auth_info, chain_id=chain_id, account_number=account_number)
    )


def signed_transaction(messages: Sequence[Message], terms: Terms, sign: Sign) -> bytes:
    """Return the bytes of a signed transaction (TxRaw) with `messages` in their order."""
    body, auth_info = body_bytes(messages, terms), auth_info_bytes(terms)
    signature = sign(sign_doc_bytes(body, auth_info, terms.chain_id, terms.account_number))
    return encode(TxRaw(body_bytes=body, auth_info_bytes=auth_info, signatures=[signature]))


def tx_hash(tx_bytes: bytes) -> str:
    """Return the hash a transaction is known by: SHA-256 in upper-case hex."""
    return sha256(tx_bytes).hexdigest().upper()


def _parse(message_type: type[M], data: bytes) -> M:
    message = message_type()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise UndecodableTransaction(f"{message_type.DESCRIPTOR.full_name} cannot be decoded") from error
    received = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != received:  # the network refuses what it does not know here
        raise UndecodableTransaction(f"{message_type.DESCRIPTOR.full_name} has unknown fields")
    return message


def _check_raw_layout(tx_bytes: bytes) -> None:
    """Bytes fields only, in ascending order, lengths as short as can be: one transaction, one encoding."""
    position = previous = 0
    while position < len(tx_bytes):
        tag, position = read_varint(tx_bytes, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type != BYTES:
            raise UndecodableTransaction(f"expected {BYTES} wire type, got {wire_type}: tx parse error")
        if number < previous:
            raise UndecodableTransaction(f"tagNum {number} after tagNum {previous}: tx parse error")
        size, start = read_varint(tx_bytes, position)
        if start - position != len(varint(size)):
            raise UndecodableTransaction("length prefix is not as short as possible: tx parse error")
        position, previous = start + size, number


def _unpack(packed: AnyMessage) -> Message:
    message_type = MESSAGE_TYPES.get(packed.type_url)
    if message_type is None:
        raise UndecodableTransaction(f"unable to resolve type URL {packed.type_url}: tx parse error")
    return _parse(message_type, packed.value)


def decode_transaction(tx_bytes: bytes) -> Transaction:
    """Read a transaction of known messages; signatures are not verified. Raises `UndecodableTransaction`."""
    try:
        _check_raw_layout(tx_bytes)
    except Undecodable as error:
        raise UndecodableTransaction(str(error)) from error
    raw = _parse(TxRaw, tx_bytes)
    body, auth_info = _parse(TxBody, raw.body_bytes), _parse(AuthInfo, raw.auth_info_bytes)
    if body.HasField("timeout_timestamp") and not 0 <= body.timeout_timestamp.nanos < NANOS:
        raise UndecodableTransaction("timeout timestamp out of range")
    return Transaction(
        body_bytes=raw.body_bytes,
        auth_info_bytes=raw.auth_info_bytes,
        signatures=tuple(raw.signatures),
        messages=tuple(_unpack(packed) for packed in body.messages),
        body=body,
        auth_info=auth_info,
    )
