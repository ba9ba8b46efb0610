"""Reading what the chain paid for a claim, block by block (spec/miner.md §4.8; decisions.md F)."""

from __future__ import annotations

from typing import Final

from mining_tasks.inclusion import look
from mining_tasks.lifecycle import OnChain
from mining_tasks.outcomes import SCANNED, Outcomes, amount
from mining_tasks.settlement import UNKNOWN, Settlement, find_settlement
from mining_tasks.wiring import Miner
from pocket_chain.node_errors import BlockPruned
from pocket_protocol.types import SupplierAddress
from pocket_protocol.windows import Windows
from relay_store.session_state import SessionRecord

SCAN_BLOCKS: Final = (
    50  # at once; and after so many without a word the chain is asked whether the claim is still there
)


def settle(miner: Miner, outcomes: Outcomes, record: SessionRecord, windows: Windows, height: int) -> None:
    """Read the blocks up to `height` that may have settled the claim, each once, and put on record what they did.

    Raises `NodeUnavailable`, `UnreadableEvent`, `NotOwner`, `StoreUnavailable`.
    """
    first = max(windows.settlement, amount(record, SCANNED) + 1)
    last = min(height, first + SCAN_BLOCKS - 1)
    for block in range(first, last + 1):
        try:
            results = miner.node.block_results(block)
        except BlockPruned:
            continue  # no node has it any more
        settlement = find_settlement(record.snapshot, block, results.events)
        if settlement is not None:
            outcomes.settled(record, settlement)
            return
    if last >= first:
        outcomes.scanned(record, last)
    if last >= windows.settlement + SCAN_BLOCKS and _is_gone(miner, record, last):
        outcomes.settled(record, Settlement(UNKNOWN, last))


def _is_gone(miner: Miner, record: SessionRecord, height: int) -> bool:
    """Whether the chain had no such claim any more at `height` or later."""
    sight = look(miner.queries, SupplierAddress(record.snapshot.supplier)).sight(record)
    return sight.claim is OnChain.ABSENT and sight.height >= height
