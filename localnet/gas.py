"""How much gas a transaction uses here: the figures measured on the real chain, not a meter (decisions.md I)."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from localnet.registered_errors import OUT_OF_GAS, TransactionRefused
from pocket_protocol.pb.pocket import proof_pb2

CLAIMS_BASE, PER_CLAIM = 37_000, 56_000
PROOFS_BASE, PER_PROOF = 41_000, 162_000
PER_TRANSFER = 30_000
FEE_PART = 22_000  # of the base, used only when a fee is taken; a simulation without fee is that much cheaper

_READ_FLAT, _READ_PER_BYTE, _PER_TX_BYTE = 1_000, 3, 10


def before_messages(messages: Sequence[Message], *, with_fee: bool) -> int:
    """Return the gas used by the checks before the messages run."""
    proving = any(isinstance(message, proof_pb2.MsgSubmitProof) for message in messages)
    base = PROOFS_BASE if proving else CLAIMS_BASE
    return base if with_fee else base - FEE_PART


def of_message(message: Message) -> int:
    if isinstance(message, proof_pb2.MsgCreateClaim):
        return PER_CLAIM
    return PER_PROOF if isinstance(message, proof_pb2.MsgSubmitProof) else PER_TRANSFER


def check_limit(gas_limit: int, steps: Sequence[tuple[str, int]]) -> None:
    """Raise `TransactionRefused` (sdk/11) at the first of the (location, gas used by then) above the limit."""
    for location, used in steps:
        if used > gas_limit:
            detail = f"out of gas in location: {location}; gasWanted: {gas_limit}, gasUsed: {used}"
            raise TransactionRefused(OUT_OF_GAS, detail, gas_used=used)


def steps_before_messages(tx_size: int, total: int) -> list[tuple[str, int]]:
    """Return where a gas limit may end before the messages: the first read, its first byte, the bytes, the rest."""
    by_size = _READ_FLAT + _READ_PER_BYTE + _PER_TX_BYTE * tx_size
    return [
        ("ReadFlat", _READ_FLAT),
        ("ReadPerByte", _READ_FLAT + _READ_PER_BYTE),
        ("txSize", min(by_size, total)),
        ("WritePerByte", total),
    ]
