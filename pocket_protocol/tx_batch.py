"""How the messages of one supplier are put into transactions (decisions.md C5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

from pocket_protocol.canonical import varint
from pocket_protocol.gas import GasCost
from pocket_protocol.tx import pack

MAX_BATCH_BYTES: Final = 512 * 1024  # half of what a node with default settings accepts
ENVELOPE_BYTES: Final = 512  # all of a transaction but its messages: memo, timeout, signer, fee, signature


def message_bytes(message: Message) -> int:
    """Return how many bytes `message` adds to a transaction."""
    size = pack(message).ByteSize()
    return 1 + len(varint(size)) + size


def split_batches(
    sizes_bytes: Sequence[int],
    *,
    gas: GasCost,
    max_bytes: int = MAX_BATCH_BYTES,
    max_gas: int | None = None,
) -> list[range]:
    """Cut a row of messages into batches, each within `max_bytes` and `max_gas`; return their index ranges.

    Order is kept, every index is in exactly one range, and each batch takes as many as fit. A message
    too large for the bounds stands alone: the chain is the one to refuse it.
    """
    batches = []
    start, size = 0, ENVELOPE_BYTES
    for index, message_size in enumerate(sizes_bytes):
        count = index - start + 1
        full = size + message_size > max_bytes or (max_gas is not None and gas.of(count) > max_gas)
        if full and count > 1:
            batches.append(range(start, index))
            start, size = index, ENVELOPE_BYTES
        size += message_size
    if sizes_bytes:
        batches.append(range(start, len(sizes_bytes)))
    return batches
