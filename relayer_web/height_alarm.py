"""Tells the operator when block heights stop coming (spec/relayer.md §10.1, block staleness).

heard      blocks come over the store
asked      they do not, and the node is asked instead: the miners' follower of blocks is down
unknown    the node is away too: relays are refused
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from relayer_web.position import HeightUnknown, PositionSource

HEARD: Final = "heard"
ASKED: Final = "asked"
UNKNOWN: Final = "unknown"
REMEMBERED_BLOCKS: Final = 10

log = structlog.get_logger("relayer")


class HeightAlarm:
    """`look` once a second. `on_change(state)` is told what a metric shows."""

    def __init__(
        self,
        on_change: Callable[[str], None] = lambda state: None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_change = on_change
        self._monotonic = monotonic
        self._asked_at = float("-inf")
        self.state = HEARD

    def note_question(self) -> None:
        """The node had to be asked."""
        self._asked_at = self._monotonic()

    def look(self, source: PositionSource) -> None:
        """Ask for the position, as a relay would, and say aloud when how it is known has changed."""
        try:
            height = source.current().height
        except HeightUnknown:
            self._be(UNKNOWN, 0)
            return
        quiet_s = self._monotonic() - self._asked_at
        self._be(ASKED if quiet_s < REMEMBERED_BLOCKS * source.block_time_s() else HEARD, height)

    def _be(self, state: str, height: int) -> None:
        if state == self.state:
            return
        self.state = state
        self._on_change(state)
        if state == HEARD:
            log.info("blocks are heard again", height=height)
        elif state == ASKED:
            log.error("no blocks are heard from the store; the node is asked", height=height)
        else:
            log.error("block height unknown: relays are refused")
