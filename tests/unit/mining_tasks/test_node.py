"""A worker's node on a real store: keys that come and go, names, and a node that no longer hears of the chain."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from mining_tasks import block_watch
from mining_tasks import node as node_module
from mining_tasks.block_watch import BlockWatch
from mining_tasks.config import MinerConfig
from mining_tasks.held_keys import HeldKeys
from mining_tasks.metrics import MinerMetrics
from mining_tasks.node import DRAIN_AT_LEAST_S, Node, node_name
from mining_tasks.outcomes import RETIRED
from mining_tasks.routing import TAKE_OVER
from operations.sections import KeysSection
from pocket_chain.key_files import address_of_key
from pocket_chain.keyring import Keyring
from pocket_protocol.curve import load_curve
from pocket_protocol.signer import PrivateKey
from pocket_protocol.types import BlockHash, BlockPosition, Height
from relay_store.block_feed import BlockPublisher, SeenBlock
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.session_state import SessionSnapshot
from tests.logs import captured

KEYS = Keys()
CURVE = load_curve()
HEX = ["11" * 32, "22" * 32, "33" * 32]
SUPPLIERS = [str(address_of_key(PrivateKey.from_hex(text), CURVE)) for text in HEX]


def block(height: int) -> BlockPosition:
    return BlockPosition(Height(height), BlockHash(bytes(32)), height * 10**9)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Blocks:
    """A block source of the test's making."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[BlockPosition | None] = queue.Queue()

    def make(self, height: int) -> None:
        self._waiting.put(block(height))

    def __iter__(self) -> Iterator[BlockPosition]:
        while (position := self._waiting.get()) is not None:
            yield position

    def close(self) -> None:
        self._waiting.put(None)


class RecordedQueues:
    """What a node consumes and sends."""

    def __init__(self) -> None:
        self.consumed: tuple[str, ...] = ()
        self.sent: list[tuple[str, str]] = []

    def consume(self, suppliers: tuple[str, ...]) -> None:
        self.consumed = suppliers

    def send(self, task: str, suppliers: Sequence[str], *, unless_waiting: bool = False) -> None:
        self.sent += [(task, supplier) for supplier in suppliers]


def fast_clock() -> float:
    return time.monotonic() * 20


class Started:
    """A node at work whose clock goes twenty times as fast."""

    def __init__(self, store: Store, keys_file: Path, name: str) -> None:
        config = MinerConfig(keys=KeysSection(keys_file=str(keys_file)), block_time_seconds=0.1)
        extensions = replace(config.extensions, lease_renew_ms=100, lease_ttl_ms=1000)
        self.queues, self.blocks = RecordedQueues(), Blocks()
        self.node = Node(
            replace(config, extensions=extensions),
            store,
            KEYS,
            HeldKeys(Keyring(config.keys, CURVE), fast_clock),
            self.queues,
            self.blocks,  # type: ignore[arg-type]
            MinerMetrics(CollectorRegistry()),
            token=f"token of {name}",
            name=name,
            monotonic=fast_clock,
        )
        self.node.start()

    def owns(self, *suppliers: str) -> bool:
        return set(self.queues.consumed) == set(suppliers)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.yaml", HEX[:2])


def write_keys(path: Path, keys: list[str]) -> Path:
    path.write_text("keys:\n" + "".join(f'- "{key}"\n' for key in keys))
    path.chmod(0o600)
    return path


@contextmanager
def started(store: Store, keys_file: Path, name: str = "first") -> Iterator[Started]:
    one = Started(store, keys_file, name)
    try:
        yield one
    finally:
        one.node.stop()


def live_session(store: Store, supplier: str) -> str:
    """Put a session on record that is not over; return its key."""
    snapshot = SessionSnapshot("5" * 64, supplier, "pokt1app", "develop-http", 1, 10)
    key = KEYS.session(supplier, snapshot.session_id)
    store.client.hset(key, mapping=snapshot.to_fields())
    store.client.zadd(KEYS.sessions(supplier), {snapshot.session_id: 10})
    return key


def test_a_removed_key_keeps_its_supplier_until_its_sessions_are_over(store: Store, keys_file: Path) -> None:
    busy, idle = SUPPLIERS[:2]
    session = live_session(store, busy)
    with started(store, keys_file) as one:
        wait_until(lambda: one.owns(busy, idle))
        one.queues.sent.clear()
        with captured(node_module) as logs:
            write_keys(keys_file, HEX[2:])
            wait_until(lambda: one.owns(busy, SUPPLIERS[2]))
        assert {entry["supplier"] for entry in logs if entry["log_level"] == "error"} == {busy, idle}
        assert set(one.queues.sent) >= {(TAKE_OVER, supplier) for supplier in SUPPLIERS}
        store.client.hset(session, mapping={"state": "proved", "settlement_outcome": "settled_proven"})
        one.blocks.make(3)
        wait_until(lambda: one.node._watch.height == 3)
        assert one.owns(busy, SUPPLIERS[2])  # its leaves are not freed yet
        store.client.hset(session, RETIRED, 1)
        wait_until(lambda: one.owns(SUPPLIERS[2]))
        assert store.client.get(KEYS.lease(busy)) is None  # it and no other one is given up


def test_another_node_finishes_with_a_removed_key_what_a_dead_one_began(
    store: Store, keys_file: Path
) -> None:
    for supplier in SUPPLIERS[:2]:
        live_session(store, supplier)
    with started(store, keys_file, "first") as first, started(store, keys_file, "second") as second:
        wait_until(lambda: len(first.queues.consumed) == len(second.queues.consumed) == 1)
        (supplier,) = first.queues.consumed
        write_keys(keys_file, HEX[2:])
        wait_until(lambda: set(SUPPLIERS[:2]) <= first.node._draining.keys() & second.node._draining.keys())
        assert supplier in first.queues.consumed
        first.node.stop()
        wait_until(lambda: second.owns(*SUPPLIERS))


def test_relays_that_wait_are_accumulated_before_a_removed_key_s_supplier_goes(
    store: Store, keys_file: Path
) -> None:
    """They were served before anybody knew of the removal; only the supplier's owner takes them up."""
    stream = KEYS.relay_stream(SUPPLIERS[0])
    with started(store, keys_file) as one:
        wait_until(lambda: one.owns(*SUPPLIERS[:2]))
        store.client.xadd(stream, {"data": b"relay"})
        write_keys(keys_file, HEX[1:2])
        wait_until(lambda: SUPPLIERS[0] in one.node._draining)
        for height in (3, 4, 5):
            one.blocks.make(height)
            wait_until(lambda height=height: one.node._watch.height == height)  # type: ignore[misc]
        since = one.node._monotonic()
        wait_until(lambda: one.node._monotonic() - since > 2 * DRAIN_AT_LEAST_S)
        assert one.owns(*SUPPLIERS[:2])
        store.client.delete(stream)
        wait_until(lambda: one.owns(SUPPLIERS[1]))


def test_a_key_that_comes_back_is_no_longer_drained(store: Store, keys_file: Path) -> None:
    session = live_session(store, SUPPLIERS[0])
    with started(store, keys_file) as one:
        wait_until(lambda: one.owns(*SUPPLIERS[:2]))
        write_keys(keys_file, HEX[1:2])
        wait_until(
            lambda: (TAKE_OVER, SUPPLIERS[0]) in one.queues.sent and SUPPLIERS[0] in one.node._draining
        )
        write_keys(keys_file, HEX[:2])
        wait_until(lambda: not one.node._draining)
        store.client.hset(session, mapping={"state": "proved", RETIRED: 1})
        one.blocks.make(3)
        assert one.owns(*SUPPLIERS[:2])


def test_a_node_that_hears_nothing_while_others_do_gives_its_suppliers_up(
    store: Store, keys_file: Path
) -> None:
    with started(store, keys_file, "deaf") as deaf:
        deaf.blocks.make(10)
        wait_until(lambda: deaf.owns(*SUPPLIERS[:2]))
        with captured(block_watch) as alarms:
            wait_until(lambda: alarms)  # the chain stands still for all
        assert deaf.owns(*SUPPLIERS[:2])
        publisher = BlockPublisher(
            store.client, height_key=KEYS.height(), channel=KEYS.blocks_channel(), chain_id="pocket"
        )
        with captured(node_module) as logs:
            assert publisher.publish(block(12))  # somebody heard it
            wait_until(lambda: deaf.owns())
            wait_until(lambda: store.client.zscore(KEYS.nodes(), "deaf") is None)
            assert store.client.smembers(KEYS.miner_active()) == set()
            with started(store, keys_file, "hearing") as hearing:
                hearing.blocks.make(13)
                wait_until(lambda: hearing.owns(*SUPPLIERS[:2]))
            deaf.blocks.make(14)
            wait_until(lambda: deaf.owns(*SUPPLIERS[:2]))
        events = [entry["event"] for entry in logs if "chain" in entry["event"]]
    assert events == [
        "the chain goes on without this node: its suppliers go to others",
        "this node hears of the chain again",
    ]


def test_a_damaged_height_ends_no_thread_that_keeps_leases(store: Store, keys_file: Path) -> None:
    store.client.hset(KEYS.height(), mapping={"height": "x", "hash": "zz", "time": "", "seen_ms": "y"})
    with started(store, keys_file) as one:
        wait_until(lambda: one.owns(*SUPPLIERS[:2]))
        with captured(node_module) as logs:
            wait_until(lambda: any(entry["event"] == "not done" for entry in logs))
        write_keys(keys_file, HEX)
        wait_until(lambda: one.owns(*SUPPLIERS))


@pytest.mark.parametrize(
    ("silence_s", "heard", "cut_off"),
    [
        (4.0, SeenBlock(block(99), 0.0), False),  # not for long
        (6.0, SeenBlock(block(7), 0.0), True),
        (6.0, SeenBlock(block(6), 0.0), False),  # one block is no lead
        (6.0, SeenBlock(block(99), 7.0), False),  # of a time before: nobody hears anything now
        (6.0, None, False),
    ],
)
def test_cut_off_is_who_hears_nothing_while_others_do(
    silence_s: float, heard: SeenBlock | None, cut_off: bool
) -> None:
    now = [100.0]
    watch = BlockWatch(MinerConfig(block_time_seconds=2.0), MinerMetrics(CollectorRegistry()), lambda: now[0])
    watch.saw(block(5))
    now[0] += silence_s
    assert watch.is_cut_off(lambda: heard) is cut_off


def test_the_operator_hears_once_that_blocks_have_stopped_and_once_that_they_come() -> None:
    now, registry = [100.0], CollectorRegistry()
    config = MinerConfig(block_time_seconds=2.0)
    watch = BlockWatch(config, MinerMetrics(registry), lambda: now[0])
    watch.saw(block(5))
    with captured(block_watch) as logs:
        for later_s, stalled in ((9.9, 0), (0.2, 1), (5.0, 1)):
            now[0] += later_s
            watch.look()
            assert registry.get_sample_value("ha_miner_blocks_stalled") == stalled
        watch.saw(block(6))
        watch.look()
        watch.look()
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("error", "no blocks from any node"),
        ("info", "blocks come again"),
    ]
    assert registry.get_sample_value("ha_miner_blocks_stalled") == 0


def test_slow_blocks_are_told_when_that_is_wished() -> None:
    registry, config = CollectorRegistry(), MinerConfig(block_time_seconds=1.0)
    monitor = replace(config.block_health_monitor, enabled=True)
    watch = BlockWatch(replace(config, block_health_monitor=monitor), MinerMetrics(registry))
    with captured(block_watch) as logs:
        for height in (1, 2, 4):
            watch.saw(block(height))
    assert [(entry["event"], entry["interval_s"]) for entry in logs] == [("slow block", 2.0)]
    assert registry.get_sample_value("ha_miner_fullnode_slow_blocks_total") == 1


def test_no_two_nodes_have_one_name_whatever_is_configured() -> None:
    config = MinerConfig()
    config = replace(config, redis=replace(config.redis, consumer_name="miner"))
    names = {node_name(config, token) for token in ("a" * 32, "b" * 32)}
    assert len(names) == 2 and all(name.startswith("miner-") for name in names)
