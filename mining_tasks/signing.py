"""Signed transactions of a supplier: when they time out, what they offer, whose key signs (spec/chain.md §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from mining_tasks.group import Group
from mining_tasks.wiring import Miner
from pocket_protocol.errors import Refused
from pocket_protocol.gas import fee_upokt
from pocket_protocol.signer import sign
from pocket_protocol.tx import NANOS, Terms, signed_transaction
from pocket_protocol.tx_timeout import timeout_timestamp_ns, ttl_s
from pocket_protocol.types import SupplierAddress

SHORTEST_LIFE_S: Final = 20  # a deadline nearer than this is counted from the last block instead


class NoSigningKey(Refused):
    """No key is held for a supplier whose session is due."""

    reason = "no_signing_key"
    summary = "no key is held for this supplier"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a transaction has beside its messages, its gas and its signature."""

    account_number: int
    timeout_ns: int


def envelope_of(miner: Miner, group: Group, members: Sequence[str], attempt: int) -> Envelope:
    """Return the envelope of one attempt: the same for whoever makes it (decisions.md C3).

    The timeout counts from the block that opened the window, which all read alike. Raises `NodeUnavailable`.
    """
    section = miner.config.transaction
    life_s = ttl_s(
        group.closes - group.opens,
        miner.config.block_time_seconds,
        skew_s=section.tx_timeout_clock_skew_buffer_seconds,
        min_s=section.tx_timeout_min_seconds,
        max_s=section.tx_timeout_max_seconds,
    )
    anchor_ns = miner.node.block(group.opens).time_ns
    if anchor_ns + int((life_s - SHORTEST_LIFE_S) * NANOS) < group.position.time_ns:
        anchor_ns = group.position.time_ns
    timeout_ns = timeout_timestamp_ns(
        supplier=group.supplier,
        session_end_height=group.windows.session_end,
        phase=group.phase.name,
        member_ids=members,
        attempt=attempt,
        anchor_ns=anchor_ns,
        ttl_s=life_s,
    )
    return Envelope(miner.accounts.number(group.supplier), timeout_ns)


def signed(
    miner: Miner, supplier: SupplierAddress, messages: Sequence[Message], envelope: Envelope, gas_limit: int
) -> bytes:
    """Return the bytes of the signed transaction; gas 0 is for simulation. Raises `NoSigningKey`."""
    key = miner.signing_keys().get(supplier)
    if key is None:
        raise NoSigningKey(supplier=supplier)
    terms = Terms(
        chain_id=miner.config.pocket_node.chain_id,
        account_number=envelope.account_number,
        public_key=key.public_key(miner.curve),
        gas_limit=gas_limit,
        fee_upokt=fee_upokt(gas_limit, miner.config.transaction.gas_price),
        timeout_timestamp_ns=envelope.timeout_ns,
    )
    return signed_transaction(messages, terms, lambda document: sign(miner.curve, key, document))
