"""The parent process of a worker: it owns the node's suppliers and follows the chain; its children do the work.

Two threads, which neither compute nor speak gRPC, so that children can be forked at any time:

    leases    renews, takes and gives up suppliers; consumes their queues; follows the key files
    blocks    follows the chain, tells each block to the deployment, sends each owned supplier on its way
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog

from mining_tasks.advance import HORIZON_BLOCKS
from mining_tasks.block_watch import BlockWatch
from mining_tasks.config import MinerConfig
from mining_tasks.held_keys import HeldKeys
from mining_tasks.leases import Leases
from mining_tasks.metrics import MinerMetrics
from mining_tasks.outcomes import RETIRED
from mining_tasks.routing import ADVANCE, TAKE_OVER
from mining_tasks.wiring import lock_directory
from operations.metrics_server import DIRECTORY_VARIABLE, mark_process_dead
from pocket_chain.blocks import BlockSource
from pocket_protocol.errors import PocketError
from pocket_protocol.types import BlockPosition
from relay_store.block_feed import BlockFeed, BlockPublisher, SeenBlock
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.relay_stream import stream_length
from relay_store.scripts import ask_each
from relay_store.sessions import Sessions
from relay_store.store_errors import store_errors

LOOK_S: Final = 0.4
ACQUIRE_AT_ONCE: Final = 100  # leases must be renewed meanwhile
DRAIN_AT_LEAST_S: Final = 15.0  # relayers notice a removed key a little later than this node may
DEAD_PROCESS_SCAN_S: Final = 10.0

log = structlog.get_logger("node")


class Queues(Protocol):
    """The part of Celery a node needs. Both methods may be called by any thread."""

    def consume(self, suppliers: tuple[str, ...]) -> None:
        """Consume exactly these suppliers' queues, beside the common one."""

    def send(self, task: str, suppliers: Sequence[str], *, unless_waiting: bool = False) -> None:
        """Send a task to each of these suppliers; `unless_waiting`, only where none of its kind lies in the queue.

        Raises what the broker's library raises.
        """


def node_name(config: MinerConfig, token: str) -> str:
    """Return the node's name among miners: never the same twice, whatever is configured (T25)."""
    return f"{config.redis.consumer_name or f'miner-{socket.gethostname()}-{os.getpid()}'}-{token[:8]}"


class Node:
    """Started in the parent once it consumes, stopped before it ends."""

    def __init__(
        self,
        config: MinerConfig,
        store: Store,
        keys: Keys,
        held: HeldKeys,
        queues: Queues,
        blocks: BlockSource,
        metrics: MinerMetrics,
        *,
        token: str,
        name: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._store = store
        self._keys = keys
        self._held = held
        self._queues = queues
        self._blocks = blocks
        self._metrics = metrics
        self._monotonic = monotonic
        self.lock_directory = lock_directory(config, token)
        self._leases = Leases(
            config, store, keys, token=token, name=name, metrics=metrics, monotonic=monotonic
        )
        self._publisher = BlockPublisher(
            store.client,
            height_key=keys.height(),
            channel=keys.blocks_channel(),
            chain_id=config.pocket_node.chain_id,
        )
        self._feed = BlockFeed(store.client, height_key=keys.height())
        self._watch = BlockWatch(config, metrics, monotonic)
        self._away = False
        self._draining: dict[str, float] = {}  # suppliers whose key is gone, and since when
        self._closing = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin in two threads."""
        for run in (self._keep_leases, self._follow_blocks):
            thread = threading.Thread(target=run, name=run.__name__.strip("_"), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Take nothing new; what is at work keeps its leases until `stop`."""
        self._closing.set()

    def stop(self) -> None:
        """Give all suppliers up and end the threads."""
        self._stopping.set()
        self._blocks.close()
        for thread in self._threads:
            thread.join(5.0)
        self._try("leave", self._leases.leave)

    # --- leases

    def _keep_leases(self) -> None:
        renew_s = self._config.extensions.lease_renew_ms / 1000
        renewed_at = looked_at = scanned_at = float("-inf")
        while not self._stopping.is_set():
            now = self._monotonic()
            self._watch.look()
            if self._stays_away():
                renewed_at = looked_at = float("-inf")
                self._stopping.wait(LOOK_S)
                continue
            if now - renewed_at >= renew_s and self._try("renew", self._renew):
                renewed_at = now
            if now - looked_at >= self._config.extensions.foreign_miner_check_seconds and self._try(
                "look", self._leases.look_for_miners
            ):
                looked_at = now
            if now - scanned_at >= DEAD_PROCESS_SCAN_S:
                scanned_at = now
                forget_dead_processes()
            if not self._closing.is_set():
                self._try("share out", self._share_out)
                self._queues.consume(self._leases.owned)
            self._stopping.wait(min(LOOK_S, renew_s / 2))

    def _stays_away(self) -> bool:
        """Whether this node is cut off from the chain; when it comes to be, it gives everything up."""
        away = self._watch.is_cut_off(self._last_heard)
        if away and not self._away:
            log.error("the chain goes on without this node: its suppliers go to others")
            self._try("leave", self._leases.leave)
            self._queues.consume(())
        elif self._away and not away:
            log.info("this node hears of the chain again")
        self._away = away
        return away

    def _last_heard(self) -> SeenBlock | None:
        """The last block any node of the deployment has told of."""
        self._try("read the last block", self._feed.read)
        return self._feed.last()

    def _renew(self) -> None:
        self._leases.renew()

    def _share_out(self) -> None:
        self._follow_keys()
        moves = self._leases.moves(self._wanted())
        for supplier in moves.release:
            self._leases.release(
                supplier, "key_removal" if supplier not in self._held.current else "rebalance"
            )
        some = moves.acquire[:ACQUIRE_AT_ONCE]
        taken = [supplier for supplier in some if self._leases.acquire(supplier)]
        if taken:
            self._queues.consume(self._leases.owned)
            self._send(TAKE_OVER, taken)

    def _follow_keys(self) -> None:
        earlier = self._held.errors
        change = self._held.follow()
        self._metrics.count("ha_keys_load_errors", by=self._held.errors - earlier)
        self._metrics.set("ha_keys_supplier_keys_active", len(self._held.current))
        if change is None:
            return
        self._metrics.count("ha_keys_reloads")
        now = self._monotonic()
        self._draining |= dict.fromkeys(change.removed, now)  # whoever owns them now may die
        for supplier in change.added:
            self._draining.pop(supplier, None)
        for supplier in change.removed:
            log.error("key removed: its sessions are finished, nothing new is served", supplier=supplier)
            if supplier in self._leases.owned:
                self._send(TAKE_OVER, [supplier])

    def _wanted(self) -> frozenset[str]:
        """The suppliers with a key, and those whose key is gone but whose work is not done."""
        now = self._monotonic()
        self._draining = {
            supplier: since
            for supplier, since in self._draining.items()
            if now - since < DRAIN_AT_LEAST_S or self._has_work(supplier)
        }
        return frozenset(self._held.current) | self._draining.keys()

    def _has_work(self, supplier: str) -> bool:
        """Whether relays wait, or a session is not settled with its leaves freed: nobody else would do it."""
        if stream_length(self._store, self._keys, supplier):
            return True
        sessions = Sessions(self._store, self._keys, supplier)
        records = sessions.read_many(
            [session for session, _ in sessions.listed()],
            unreadable=lambda session, error: None,  # it will never end: not waited for
        )
        return any(record is not None and RETIRED not in record.more for record in records)

    # --- blocks

    def _follow_blocks(self) -> None:
        while not self._stopping.is_set():
            self._try("follow blocks", self._each_block)
            self._stopping.wait(1.0)

    def _each_block(self) -> None:
        for position in self._blocks:
            if self._stopping.is_set():
                return
            self._try("tell block", lambda position=position: self._tell(position))  # type: ignore[misc]
            self._try("send on", lambda position=position: self._send_on(position.height))  # type: ignore[misc]

    def _tell(self, position: BlockPosition) -> None:
        self._watch.saw(position)
        with store_errors():
            if self._publisher.publish(position):
                self._metrics.count("ha_cache_block_events_published")

    def _send_on(self, height: int) -> None:
        """Send a task to each owned supplier with sessions that are over; it decides what is due."""
        suppliers = self._leases.owned
        if not suppliers:
            return
        lists = [self._keys.sessions(supplier) for supplier in suppliers]
        counts = ask_each(self._store, "ZCOUNT", lists, height - HORIZON_BLOCKS, height)
        due = [supplier for supplier, count in zip(suppliers, counts, strict=True) if count]
        # it asks for the last block itself: one that waits does for all blocks that come meanwhile
        self._send(ADVANCE, due, unless_waiting=True)

    def _send(self, task: str, suppliers: Sequence[str], *, unless_waiting: bool = False) -> None:
        """Tasks that cannot be sent are sent by the sweep, or with the next block."""
        try:
            self._queues.send(task, suppliers, unless_waiting=unless_waiting)
        except Exception as error:  # whatever the broker's library raises; the thread must live
            log.warning("tasks not sent", task=task, suppliers=len(suppliers), error=str(error)[:200])

    def _try(self, what: str, do: Callable[[], object]) -> bool:
        try:
            do()
        except PocketError as error:
            log.warning("not done", what=what, reason=error.reason, error=str(error)[:300])
            return False
        except Exception:  # the threads of a node end with it and not before
            log.exception("not done", what=what)
            return False
        return True


def forget_dead_processes() -> None:
    """Drop the live gauges of processes that ended without saying so."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if not directory:
        return
    for file in Path(directory).glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not Path("/proc", pid).exists():
            mark_process_dead(int(pid))
