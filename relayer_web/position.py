"""Where the chain stands, as far as a relay's checks go (decisions D9; spec/relayer.md §5.4).

The height comes from the block feed. When it is older than a few block times, the node is asked; if the node
is away too, the height counts as unknown and relays are refused: an old height would let expired sessions in.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pocket_protocol.errors import PocketError, Unavailable
from pocket_protocol.types import BlockPosition
from relay_store.block_feed import BlockFeed

ASSUMED_BLOCK_TIME_S: Final = 30.0  # until two blocks were seen
SHORTEST_BLOCK_TIME_S: Final = 0.2
LONGEST_BLOCK_TIME_S: Final = 120.0
MEASURED_BLOCKS: Final = 20
ASKING_WAIT_S: Final = 1.0


class HeightUnknown(Unavailable):
    """No height, or one too old to judge sessions by."""

    reason = "height_unknown"
    summary = "block height is not known"


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """The height a relay is judged at, its age, and the time a block takes; one value for one moment."""

    height: int
    age_s: float
    block_time_s: float


class PositionSource:
    """Answers `current()` without I/O, except when the feed has gone quiet."""

    def __init__(
        self,
        feed: BlockFeed,
        ask_node: Callable[[], BlockPosition],
        *,
        block_time_s: float = 0.0,
        stale_blocks: int = 5,
        monotonic: Callable[[], float] = time.monotonic,
        on_stale: Callable[[], None] = lambda: None,
    ) -> None:
        """`block_time_s` 0 measures it. `on_stale` is called when the node has to be asked."""
        self._feed = feed
        self._ask_node = ask_node
        self._fixed_block_time_s = block_time_s
        self._stale_blocks = stale_blocks
        self._monotonic = monotonic
        self._on_stale = on_stale
        self._lock = threading.Lock()
        self._confirmed: tuple[int, float] | None = None  # height the node gave, and when
        self._next_question_at = float("-inf")
        self._seen: deque[BlockPosition] = deque(maxlen=MEASURED_BLOCKS)

    def current(self) -> ChainPosition:
        """The position now. Raises `HeightUnknown`."""
        block_time_s = self.block_time_s()
        position = self._known(block_time_s)
        if position is None:
            self._ask(block_time_s)
            position = self._known(block_time_s)
        if position is None:
            raise HeightUnknown
        return position

    def _known(self, block_time_s: float) -> ChainPosition | None:
        """The younger of what the feed and the node said, unless both are too old."""
        highest, age_s = -1, math.inf
        seen = self._feed.last()
        if seen is not None:
            self._measure(seen.position)
            highest, age_s = seen.position.height, seen.age_s
        if self._confirmed is not None:
            height, confirmed_at = self._confirmed
            confirmed_age_s = self._monotonic() - confirmed_at
            if height > highest:
                highest, age_s = height, confirmed_age_s
            elif height == highest:
                age_s = min(age_s, confirmed_age_s)
        if age_s > self._stale_blocks * block_time_s:
            return None
        return ChainPosition(highest, age_s, block_time_s)

    def _ask(self, block_time_s: float) -> None:
        """Ask the node, one caller at a time and at most once per block time; the others go with what is known."""
        if not self._lock.acquire(timeout=ASKING_WAIT_S):
            return
        try:
            now = self._monotonic()
            if now < self._next_question_at:
                return
            self._next_question_at = now + min(block_time_s, ASKING_WAIT_S)
            self._on_stale()
            position = self._ask_node()
            self._confirmed = (position.height, self._monotonic())
            self._feed.offer(position)
        except PocketError:
            return
        finally:
            self._lock.release()

    def _measure(self, position: BlockPosition) -> None:
        seen = self._seen
        if seen and position.height < seen[-1].height:
            seen.clear()  # another chain
        if position.time_ns and (not seen or position.height > seen[-1].height):
            seen.append(position)

    def block_time_s(self) -> float:
        """The configured block time, or the mean of the last blocks' own times."""
        if self._fixed_block_time_s:
            return self._fixed_block_time_s
        seen = self._seen
        if len(seen) < 2:
            return ASSUMED_BLOCK_TIME_S
        first, last = seen[0], seen[-1]
        mean_s = (last.time_ns - first.time_ns) / (last.height - first.height) / 1e9
        return min(max(mean_s, SHORTEST_BLOCK_TIME_S), LONGEST_BLOCK_TIME_S)
