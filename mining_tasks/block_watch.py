"""How a node hears of the chain: each block's delay, the alarm when none comes, and whether others hear more.

A node that hears nothing while the deployment's height goes on is cut off from the chain: its suppliers are better
off with a node that is not (spec/miner.md §4.9, decisions.md E).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from mining_tasks.config import MinerConfig
from mining_tasks.metrics import MinerMetrics
from pocket_protocol.types import BlockPosition
from relay_store.block_feed import SeenBlock

STALLED_BLOCKS: Final = 5  # no block for so many block times is told
CUT_OFF_BLOCKS: Final = 2  # others are so far ahead, and nothing came for so many block times
SHORTEST_SILENCE_S: Final = 5.0  # a busy machine is no silent chain

log = structlog.get_logger("blocks")


class BlockWatch:
    """`saw` is called with each block, `look` and `is_cut_off` now and then, by another thread."""

    def __init__(
        self, config: MinerConfig, metrics: MinerMetrics, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._block_time_s = config.block_time_seconds
        self._monitor = config.block_health_monitor
        self._metrics = metrics
        self._monotonic = monotonic
        self._seen_at = monotonic()
        self._time_ns = 0
        self._stalled = False
        self.height = 0
        metrics.set("ha_miner_configured_block_time_seconds", config.block_time_seconds)
        metrics.set("ha_miner_blocks_stalled", 0)

    def saw(self, position: BlockPosition) -> None:
        """Note a block: its height, and how long the chain took for it."""
        self._seen_at = self._monotonic()
        self._metrics.set("ha_miner_current_block_height", position.height)
        if self._time_ns:
            self._weigh(position, (position.time_ns - self._time_ns) / 1e9)
        self.height, self._time_ns = position.height, position.time_ns

    def _weigh(self, position: BlockPosition, interval_s: float) -> None:
        self._metrics.set("ha_miner_current_block_interval_seconds", interval_s)
        if self._monitor.enabled and interval_s > self._monitor.slowness_threshold * self._block_time_s:
            self._metrics.count("ha_miner_fullnode_slow_blocks")
            log.warning("slow block", height=position.height, interval_s=round(interval_s, 3))

    def look(self) -> None:
        """Raise the alarm when blocks have stopped coming, and end it when they come again; each once."""
        silence_s = self._monotonic() - self._seen_at
        stalled = silence_s >= max(STALLED_BLOCKS * self._block_time_s, SHORTEST_SILENCE_S)
        if stalled == self._stalled:
            return
        self._stalled = stalled
        self._metrics.set("ha_miner_blocks_stalled", int(stalled))
        if stalled:
            log.error("no blocks from any node", height=self.height, silence_s=round(silence_s, 1))
        else:
            log.info("blocks come again", height=self.height)

    def is_cut_off(self, deployment: Callable[[], SeenBlock | None]) -> bool:
        """Whether other nodes of the deployment have heard blocks since this one heard its last.

        `deployment` gives the last block anyone has heard of; it is asked only when nothing was heard for a while.
        """
        silence_s = self._monotonic() - self._seen_at
        if silence_s < max(CUT_OFF_BLOCKS * self._block_time_s, SHORTEST_SILENCE_S):
            return False
        heard = deployment()
        if heard is None or heard.age_s >= silence_s:
            return False
        return heard.position.height >= self.height + CUT_OFF_BLOCKS
