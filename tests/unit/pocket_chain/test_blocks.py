"""The source of blocks: nothing skipped, nothing twice, silence noticed, nodes changed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from operations.sections import PocketNodeSection
from pocket_chain import blocks
from pocket_chain.block_subscription import BlockSubscription
from pocket_chain.blocks import BlockSource
from pocket_chain.node import CometNode
from pocket_chain.node_errors import NodeAnswerUnreadable, NodeUnavailable
from pocket_protocol.types import BlockPosition
from tests.unit.pocket_chain.fake_node import RpcNode, block_hash, rpc_node

WAIT_S = 10.0


class Watcher:
    """A source in a thread of its own, and what it yielded."""

    def __init__(self, source: BlockSource) -> None:
        self.source = source
        self.seen: list[int] = []
        self._positions: queue.Queue[BlockPosition] = queue.Queue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for position in self.source:
            self._positions.put(position)

    def until(self, height: int) -> list[int]:
        """Return all heights yielded so far, waiting for `height`; each block's hash is the right one."""
        deadline = time.monotonic() + WAIT_S
        while not self.seen or self.seen[-1] < height:
            position = self._positions.get(timeout=max(deadline - time.monotonic(), 0.01))
            assert position.block_hash == block_hash(position.height)
            self.seen.append(position.height)
        return self.seen


@contextmanager
def watching(
    *servers: RpcNode, block_time_s: float = 0.4, after: int = 0, timeout_s: float = 1.0
) -> Iterator[Watcher]:
    nodes = [CometNode(server.url, timeout_s, "pocket") for server in servers]
    watcher = Watcher(BlockSource(nodes, block_time_s, after))
    try:
        yield watcher
    finally:
        watcher.source.close()
        watcher.thread.join(WAIT_S)
        assert not watcher.thread.is_alive()


def eventually(condition: object, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.005)


@pytest.fixture
def server() -> Iterator[RpcNode]:
    with rpc_node() as running:
        yield running


@pytest.fixture
def second() -> Iterator[RpcNode]:
    with rpc_node() as running:
        yield running


def test_it_starts_with_the_newest_block_and_follows_announcements(server: RpcNode) -> None:
    with watching(server, block_time_s=30) as watcher:
        assert watcher.until(10) == [10]
        eventually(lambda: server.subscriptions == 1, "subscribed")
        for _ in range(5):
            server.grow()
        assert watcher.until(15) == [10, 11, 12, 13, 14, 15]
        assert watcher.source.is_subscribed and server.subscriptions == 1


def test_it_starts_where_it_was_told(server: RpcNode) -> None:
    with watching(server, after=6) as watcher:
        assert watcher.until(10) == [7, 8, 9, 10]


def test_no_block_is_missed_across_a_cut_connection(server: RpcNode) -> None:
    with watching(server, block_time_s=30) as watcher:
        watcher.until(10)
        eventually(lambda: server.subscriptions == 1, "subscribed")
        server.mute = True
        server.drop_subscribers()
        server.grow(7)
        server.mute = False
        assert watcher.until(17) == list(range(10, 18))
        eventually(lambda: server.subscriptions == 2, "subscribed again")
        server.grow()
        assert watcher.until(18) == list(range(10, 19))


def test_announcements_that_skip_repeat_or_fall_change_nothing(server: RpcNode) -> None:
    with watching(server, block_time_s=30) as watcher:
        watcher.until(10)
        eventually(lambda: server.subscriptions == 1, "subscribed")
        server.height = 15
        server.announce(15)
        server.announce(15)
        server.announce(12)
        server.announce(99)  # not there yet
        server.grow()
        assert watcher.until(16) == list(range(10, 17))


def test_a_silent_subscription_is_noticed_and_polled_around(server: RpcNode) -> None:
    server.mute = True
    with watching(server, block_time_s=0.2) as watcher:
        watcher.until(10)
        eventually(lambda: server.subscriptions == 1, "subscribed")
        server.grow(3)
        assert watcher.until(13) == [10, 11, 12, 13]


def test_subscriptions_that_were_given_up_are_closed(
    server: RpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T14: none is left behind to fill up."""
    monkeypatch.setattr(blocks, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(blocks, "LAST_RETRY_S", 0.01)
    server.mute = True
    with watching(server, block_time_s=0.2) as watcher:
        watcher.until(10)
        for height in count(11):
            eventually(lambda: watcher.source.is_subscribed, "subscribed")
            server.grow()  # unheard: the source asks, and subscribes anew (unless it was about to look anyway)
            watcher.until(height)
            if server.subscriptions > 4:
                break
        eventually(lambda: server.open_sockets() <= 1, "the earlier ones are closed")


def test_without_a_websocket_the_node_is_polled(server: RpcNode) -> None:
    server.refuse_websocket = True
    with watching(server) as watcher:
        watcher.until(10)
        server.grow(2)
        assert watcher.until(12) == [10, 11, 12]
        assert not watcher.source.is_subscribed


def test_a_dead_node_is_left_for_the_second_without_a_gap(server: RpcNode, second: RpcNode) -> None:
    with rpc_node() as first, watching(first, second) as watcher:
        watcher.until(10)
        first.hold.clear()  # hangs
        first.drop_subscribers()
        second.height = 14
        assert watcher.until(14) == [10, 11, 12, 13, 14]
        assert watcher.source.node.url == second.url
        second.grow()
        assert watcher.until(15) == [10, 11, 12, 13, 14, 15]


def test_a_node_that_falls_behind_is_left(server: RpcNode, second: RpcNode) -> None:
    with watching(server, second, block_time_s=0.2) as watcher:
        watcher.until(10)
        second.height = 20  # the first one stays at 10 and is otherwise well
        assert watcher.until(20) == list(range(10, 21))
        assert watcher.source.node.url == second.url


def test_heights_never_fall(server: RpcNode, second: RpcNode) -> None:
    second.height = 5
    with watching(server, second, block_time_s=0.2) as watcher:
        watcher.until(10)
        server.results["block"] = second.answer("block", {})  # answers an old block
        polled = server.count("block")
        eventually(lambda: server.count("block") > polled + 3, "asked again")
        del server.results["block"]
        server.grow()
        assert watcher.until(11) == [10, 11]


def test_a_node_of_another_network_is_not_believed(server: RpcNode, second: RpcNode) -> None:
    server.network = "other"
    server.height = 50
    with watching(server, second) as watcher:
        second.grow()
        assert max(watcher.until(11)) == 11
        assert watcher.source.node.url == second.url


def test_a_missing_block_is_had_from_another_node(server: RpcNode, second: RpcNode) -> None:
    server.lowest = 9
    second.lowest = 1
    with watching(server, second, after=6) as watcher:
        assert watcher.until(10) == [7, 8, 9, 10]
        assert watcher.source.missed_heights == []


def test_a_block_nobody_has_is_named_and_passed_over(server: RpcNode) -> None:
    server.lowest = 9
    with watching(server, after=7) as watcher:
        assert watcher.until(10) == [9, 10]
        assert watcher.source.missed_heights == [8]


def test_garbage_on_the_subscription_ends_it_and_loses_nothing(server: RpcNode) -> None:
    with watching(server, block_time_s=30) as watcher:
        watcher.until(10)
        eventually(lambda: server.subscriptions == 1, "subscribed")
        server.mute = True
        server.grow(2)
        server.send_frames(b'{"result": {"data": 5}}')
        assert watcher.until(12) == [10, 11, 12]


def test_closing_is_prompt(server: RpcNode) -> None:
    with watching(server, block_time_s=60) as watcher:
        watcher.until(10)
        eventually(lambda: server.subscriptions == 1, "subscribed")
        started = time.monotonic()
    assert time.monotonic() - started < 3


def test_a_subscription_on_its_own(server: RpcNode) -> None:
    url = server.url.replace("http://", "http://user:hush@")
    subscription = BlockSubscription(url, 2.0)
    assert server.headers[-1]["Authorization"] == "Basic dXNlcjpodXNo"
    assert server.calls[-1] == ("subscribe", {"query": "tm.event='NewBlockHeader'"})
    assert subscription.next_height(0.05) is None
    eventually(lambda: server.subscriptions == 1, "subscribed")
    server.grow()
    assert subscription.next_height(5) == 11
    server.drop_subscribers()
    with pytest.raises(NodeUnavailable):
        subscription.next_height(5)
    subscription.close()


def test_a_refused_subscription(server: RpcNode) -> None:
    server.results["subscribe"] = {"error": {"code": -32603, "data": "already subscribed"}}
    with pytest.raises(NodeAnswerUnreadable, match="already subscribed"):
        BlockSubscription(server.url, 2.0)
    server.refuse_websocket = True
    with pytest.raises(NodeUnavailable):
        BlockSubscription(server.url, 2.0)


def test_the_source_of_a_configured_node() -> None:
    node = PocketNodeSection("tcp://h:1", "h:2", chain_id="c", query_timeout_seconds=3)
    source = BlockSource.of(node, [PocketNodeSection("http://i:1", "i:2")], block_time_s=2, after=5)
    assert [one.url for one in source.nodes] == ["http://h:1", "http://i:1"]
    assert source.last_height == 5
    with pytest.raises(ValueError):
        BlockSource([], 1)
