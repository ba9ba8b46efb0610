"""The chain's blocks in order, without gaps, from one or several nodes (spec/chain.md §8, decisions.md E).

A node announces new blocks on its WebSocket. Announcements get lost: a connection breaks, hangs or belongs to a
node that fell behind. So they are only a hint that it is worth asking; each block is fetched by its height, those
missed in between as well. Silence is met by asking the node, then the other nodes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from operations.sections import NodeAddresses, PocketNodeSection
from pocket_chain.block_subscription import BlockSubscription
from pocket_chain.node import CometNode
from pocket_chain.node_errors import AheadOfNode, BlockPruned, NodeUnavailable
from pocket_protocol.types import BlockPosition, Height

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 15.0
COMPARE_NODES_S = 30.0
TOLERATED_LAG_BLOCKS = 1
ATTEMPTS_PER_BLOCK = 3
PATIENCE_WITH_NODES_S = 1.0

log = structlog.get_logger("blocks")


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why the node is asked: an announced height, or none; `silent` after a wait in which none came."""

    height: Height | None = None
    silent: bool = False


class BlockSource:
    """Yields the position of each new block once, in rising order, for ever.

    `nodes` in order of preference; `block_time_s` is the expected time between blocks (it sets how soon silence
    is suspicious); `after` is the last height already known: later ones are fetched first, 0 starts at the
    newest. One thread iterates; `close` may be called by any.
    """

    def __init__(
        self,
        nodes: Sequence[CometNode],
        block_time_s: float,
        after: int = 0,
        subscribe: Callable[[str, float], BlockSubscription] = BlockSubscription,
    ) -> None:
        if not nodes:
            raise ValueError("at least one node is needed")
        self.nodes = tuple(nodes)
        self.last_height = Height(after)
        self.missed_heights: list[Height] = []  # blocks no node could deliver
        self._quiet_s = max(0.5, 1.25 * block_time_s)
        self._poll_s = min(max(block_time_s / 4, 0.1), 2.0)
        self._subscribe = subscribe
        self._subscription: BlockSubscription | None = None
        self._node = self.nodes[0]
        self._closed = threading.Event()
        self._retry_s = FIRST_RETRY_S
        self._retry_at = 0.0
        self._compare_at = 0.0
        self._news_at = time.monotonic()

    @classmethod
    def of(
        cls,
        node: PocketNodeSection,
        fallback: Sequence[NodeAddresses] = (),
        block_time_s: float = 30.0,
        after: int = 0,
    ) -> BlockSource:
        """Return the source of a configured node and its fallbacks."""
        timeout_s = float(node.query_timeout_seconds)
        nodes = [CometNode(one.rpc_url, timeout_s, node.chain_id) for one in (node, *fallback)]
        return cls(nodes, block_time_s, after)

    def __iter__(self) -> Iterator[BlockPosition]:
        try:
            while not self._closed.is_set():
                yield from self._new_blocks()
        finally:
            self._unsubscribe()

    def close(self) -> None:
        """End the iteration soon."""
        self._closed.set()

    @property
    def node(self) -> CometNode:
        """The node blocks are taken from now."""
        return self._node

    @property
    def is_subscribed(self) -> bool:
        """Whether blocks are announced now; otherwise the node is polled."""
        return self._subscription is not None

    def _new_blocks(self) -> Iterator[BlockPosition]:
        """Wait for a reason to ask, then yield what is new."""
        reason = self._wait()
        if self._closed.is_set() or (reason.height is not None and reason.height <= self.last_height):
            return
        now = time.monotonic()
        if now >= self._compare_at or now >= self._news_at + self._quiet_s:
            self._choose_node()
        try:
            newest = self._newest(reason)
        except NodeUnavailable as error:
            self._node_failed(error)
            return
        yield from self._fetch_through(newest)

    def _wait(self) -> _Reason:
        """Return when a block was announced, or when it is time to ask unbidden."""
        if self._subscription is None and time.monotonic() >= self._retry_at:
            self._try_to_subscribe()
            return _Reason()  # blocks may have come while nobody listened
        if self._subscription is None:
            self._closed.wait(self._poll_s)
            return _Reason()
        try:
            height = self._listen(self._subscription)
        except NodeUnavailable as error:
            log.info("block announcements ended", node=self._node.shown_url, error=str(error))
            self._unsubscribe()
            return _Reason()
        if height is not None:
            self._retry_s = FIRST_RETRY_S
        return _Reason(height, silent=height is None)

    def _listen(self, subscription: BlockSubscription) -> Height | None:
        """Wait for one announcement, in steps short enough for `close` to be prompt."""
        deadline = time.monotonic() + self._quiet_s
        while not self._closed.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            height = subscription.next_height(min(left, 0.5))
            if height is not None:
                return height
        return None

    def _newest(self, reason: _Reason) -> BlockPosition:
        """Return the announced block, or the newest of the chosen node."""
        if reason.height is not None:
            try:
                return self._node.block(reason.height)
            except AheadOfNode:  # announced an instant before it can be asked for
                pass
        newest = self._node.block()
        if reason.silent and newest.height > self.last_height:
            log.info("block announcements stalled", node=self._node.shown_url, height=newest.height)
            self._unsubscribe()
        return newest

    def _fetch_through(self, newest: BlockPosition) -> Iterator[BlockPosition]:
        if newest.height > self.last_height:
            self._news_at = time.monotonic()
        if self.last_height == 0 and newest.height > 0:
            self.last_height = newest.height
            yield newest
        while self.last_height < newest.height and not self._closed.is_set():
            height = Height(self.last_height + 1)
            position = newest if height == newest.height else self._fetch(height)
            self.last_height = height
            if position is None:
                self.missed_heights.append(height)
                log.error("block cannot be had from any node", height=height)
            else:
                yield position

    def _fetch(self, height: Height) -> BlockPosition | None:
        """Return a past block from whichever node has it, None when all fail three times, or none has it any more."""
        for attempt in range(ATTEMPTS_PER_BLOCK):
            is_gone = True
            for node in (self._node, *(one for one in self.nodes if one is not self._node)):
                try:
                    return node.block(height)
                except BlockPruned:
                    continue
                except NodeUnavailable as error:
                    is_gone = False
                    log.info("block not read", node=node.shown_url, height=height, error=str(error))
            if is_gone:  # waiting for hundreds of them would keep the newest from everyone
                break
            if self._closed.wait(self._poll_s * (attempt + 1)):
                break
        return None

    def _choose_node(self) -> None:
        """Move to the first node that is not behind the best one; stay when none is better."""
        self._compare_at = time.monotonic() + COMPARE_NODES_S
        self._news_at = time.monotonic()
        heights = self._heights() if len(self.nodes) > 1 else {}
        if not heights:
            return
        best = max(heights.values())
        if heights.get(self._node, -1) + TOLERATED_LAG_BLOCKS >= best:
            return
        chosen = next(node for node in self.nodes if heights.get(node, -1) + TOLERATED_LAG_BLOCKS >= best)
        log.warning("blocks are taken from another node", node=chosen.shown_url, left=self._node.shown_url)
        self._move_to(chosen)

    def _heights(self) -> dict[CometNode, Height]:
        """Ask all nodes at once where they are; one that hangs holds nobody up for long."""
        heights: dict[CometNode, Height] = {}

        def ask(node: CometNode) -> None:
            try:
                heights[node] = node.status().position.height
            except NodeUnavailable as error:
                log.info("node gave no status", node=node.shown_url, error=str(error))

        threads = [threading.Thread(target=ask, args=(node,), daemon=True) for node in self.nodes]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + PATIENCE_WITH_NODES_S
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        return dict(heights)

    def _node_failed(self, error: NodeUnavailable) -> None:
        log.info("node gave no block", node=self._node.shown_url, error=str(error))
        self._unsubscribe()
        if len(self.nodes) > 1:
            position = self.nodes.index(self._node)
            self._move_to(self.nodes[(position + 1) % len(self.nodes)])
        self._closed.wait(self._poll_s)

    def _move_to(self, node: CometNode) -> None:
        self._unsubscribe()
        self._node = node
        self._retry_at = 0.0

    def _try_to_subscribe(self) -> None:
        try:
            self._subscription = self._subscribe(self._node.url, self._node.rpc.timeout_s)
        except NodeUnavailable as error:
            log.info("no block announcements, polling", node=self._node.shown_url, error=str(error))
            self._schedule_retry()

    def _schedule_retry(self) -> None:
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
            self._schedule_retry()
