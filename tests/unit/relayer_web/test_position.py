"""Which height a relay is judged at, and what happens when the blocks stop coming (decisions D9)."""

from __future__ import annotations

import pytest

from pocket_chain.node_errors import NodeUnavailable
from pocket_protocol.types import BlockHash, BlockPosition, Height
from relay_store.block_feed import BlockFeed
from relayer_web.position import ASSUMED_BLOCK_TIME_S, HeightUnknown, PositionSource

SECOND = 1_000_000_000


class Times:
    """A clock, a feed and a node."""

    def __init__(self, **options) -> None:
        self.now = 1000.0
        self.node: int | None = None
        self.asked = 0
        self.feed = BlockFeed(None, height_key="unused", monotonic=lambda: self.now)
        self.source = PositionSource(self.feed, self.ask, monotonic=lambda: self.now, **options)

    def ask(self) -> BlockPosition:
        self.asked += 1
        if self.node is None:
            raise NodeUnavailable(text="away")
        return BlockPosition(Height(self.node), BlockHash(b""), 0)

    def block(self, height: int, time_s: float = 0.0) -> None:
        self.feed.offer(BlockPosition(Height(height), BlockHash(b""), int(time_s * SECOND)))


def test_a_fresh_height_comes_from_the_feed() -> None:
    times = Times(block_time_s=2.0)
    times.block(105)
    times.now += 3.0
    position = times.source.current()
    assert (position.height, position.age_s, position.block_time_s) == (105, 3.0, 2.0)
    assert times.asked == 0


def test_a_quiet_feed_makes_the_node_be_asked() -> None:
    times = Times(block_time_s=2.0, stale_blocks=5)
    times.block(105)
    times.node = 109
    times.now += 10.5
    assert times.source.current().height == 109
    assert times.source.current().age_s == 0.0
    assert times.asked == 1


def test_a_chain_that_stands_still_is_known_to_stand_still() -> None:
    times = Times(block_time_s=2.0, stale_blocks=5)
    times.block(105)
    times.node = 105
    times.now += 3600.0
    position = times.source.current()
    assert (position.height, position.age_s) == (105, 0.0)


def test_nothing_known_or_all_too_old_refuses() -> None:
    times = Times(block_time_s=2.0, stale_blocks=5)
    with pytest.raises(HeightUnknown):
        times.source.current()
    times.block(105)
    times.now += 10.5
    with pytest.raises(HeightUnknown):
        times.source.current()
    times.block(106)
    assert times.source.current().height == 106


def test_a_node_that_is_away_is_not_asked_for_every_relay() -> None:
    times = Times(block_time_s=2.0)
    for _ in range(50):
        with pytest.raises(HeightUnknown):
            times.source.current()
    assert times.asked == 1
    times.now += 1.0
    times.node = 7
    assert times.source.current().height == 7


def test_the_block_time_is_measured_from_the_blocks_themselves() -> None:
    times = Times()
    assert times.source.block_time_s() == ASSUMED_BLOCK_TIME_S
    for height in range(100, 140):
        times.block(height, time_s=5000 + 6.0 * height)
        times.now += 0.01  # how fast the messages come does not matter
        times.source.current()
    assert times.source.block_time_s() == pytest.approx(6.0)


def test_skipped_heights_do_not_spoil_the_measure() -> None:
    times = Times()
    times.block(100, time_s=5000.0)
    times.source.current()
    times.block(110, time_s=5020.0)
    times.source.current()
    assert times.source.block_time_s() == pytest.approx(2.0)
