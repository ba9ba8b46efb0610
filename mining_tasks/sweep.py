"""The beat's safety net: work nobody was sent to, for all suppliers of the deployment (decisions.md B1).

Blocks and tickets normally bring every task. A lost message, a crashed front end or a node that missed a block leave
something behind; this finds it.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final
from zlib import crc32

import structlog
from celery import Celery

from mining_tasks.advance import HORIZON_BLOCKS
from mining_tasks.cache_refresh import CacheRefresh
from mining_tasks.registration import Registration
from mining_tasks.routing import ACCUMULATE, ADVANCE, TIDY, supplier_queue
from mining_tasks.wiring import Miner
from relay_store.probe import memory_use
from relay_store.relay_stream import stream_lengths
from relay_store.scripts import ask_each
from relay_store.service_factor import ServiceFactors
from relay_store.store_errors import store_errors
from relay_store.ticket import gathers

SWEEP_S: Final = 1.0  # how often `streams` is called
SHORTEST_PERIOD_S: Final = 5
STALE_S: Final = 30.0  # relays that wait so long are told
STALE_LOOK_S: Final = 10  # how often it is looked for them: the entries come whole, and may be long
TOLD_EVERY_S: Final = 60.0
TOGETHER: Final = 50

log = structlog.get_logger("sweep")


class Sweep:
    """One look over all managed suppliers. All methods raise `StoreUnavailable`."""

    def __init__(self, app: Celery, miner: Miner, registration: Registration) -> None:
        self._app = app
        self._miner = miner
        self._registration = registration

    def is_current(self, epoch: int) -> bool:
        """Return whether the beat of that epoch is still the last one that was elected."""
        with store_errors():
            current = self._miner.store.client.get(self._miner.keys.beat_lease().epoch)
        return current is not None and int(current) == epoch

    def streams(self) -> None:
        """Send owned suppliers with entries waiting and no task on its way, or soon to be sent, to accumulation."""
        lengths = stream_lengths(self._miner.store, self._miner.keys, self._managed)
        waiting = [supplier for supplier, length in lengths.items() if length]
        tickets = self._ask("PTTL", self._miner.keys.ticket, waiting)
        forgotten = [supplier for supplier, left_ms in tickets if not gathers(left_ms)]
        self._send(ACCUMULATE, self._idle(self._owned(forgotten)))
        self._tell_stale(waiting)

    def _tell_stale(self, waiting: Sequence[str]) -> None:
        """Raise the alarm about relays that nobody takes up, whatever the reason: they must be in a tree in time."""
        if not waiting or int(self._miner.now_s()) % STALE_LOOK_S:
            return
        keys = self._miner.keys
        now_s = self._store_time_s(keys.relay_stream(waiting[0]))
        for supplier, oldest in self._ask("XRANGE", keys.relay_stream, waiting, "-", "+", "COUNT", 1):
            age_s = now_s - int(oldest[0][0].partition(b"-")[0]) / 1000 if oldest else 0.0
            if age_s < STALE_S:
                continue
            self._miner.metrics.count("ha_miner_stale_streams", supplier)
            if (age_s - STALE_S) % TOLD_EVERY_S < STALE_LOOK_S:
                log.error("relays wait and are not accumulated", supplier=supplier, age_s=round(age_s))

    def _store_time_s(self, key: str) -> float:
        with store_errors():
            seconds, microseconds = self._miner.store.node(key).time()
        return float(seconds) + microseconds / 1e6

    def sessions(self) -> None:
        """Send owned suppliers with sessions that are over, each once in a while, to `advance`."""
        height = self._miner.facts.height()
        period_s = max(SHORTEST_PERIOD_S, int(2 * self._miner.config.block_time_seconds))
        turn = int(time.time()) % period_s
        suppliers = [one for one in self._managed if crc32(one.encode()) % period_s == turn]
        over = self._ask("ZCOUNT", self._miner.keys.sessions, suppliers, height - HORIZON_BLOCKS, height)
        due = [supplier for supplier, count in over if count]
        self._send(ADVANCE, self._idle(self._owned(due)))

    def send_all(self, task: str) -> None:
        """Send every owned supplier, unless its queue is busy, to `task`."""
        self._send_together(task, self._managed)

    def tidy(self) -> None:
        """Send every owned supplier that has sessions to be tidied."""
        listed = self._ask("ZCARD", self._miner.keys.sessions, self._managed)
        self._send_together(TIDY, [supplier for supplier, count in listed if count])

    def _send_together(self, task: str, suppliers: Sequence[str]) -> None:
        """Send a task to each owner for some of its suppliers at once: a message costs more than what is done here.

        In no order, so that it is not always the same that a task has no time for.
        """
        owned: defaultdict[bytes, list[str]] = defaultdict(list)
        for supplier, token in self._ask("GET", self._miner.keys.lease, suppliers):
            if token is not None:
                owned[token].append(supplier)
        with self._app.producer_or_acquire() as producer:
            for of_owner in owned.values():
                idle = self._idle(of_owner)
                random.shuffle(idle)
                for first in range(0, len(idle), TOGETHER):
                    some = idle[first : first + TOGETHER]
                    self._send_task(task, some, producer)

    def publish_service_factors(self) -> None:
        """Write the configured factors anew before they run out (T21)."""
        config, now_s = self._miner.config, int(time.time())
        factors = ServiceFactors(
            self._miner.store.client,
            factor_key=self._miner.keys.service_factor,
            ttl_s=int(config.cache_ttl_s),
        )
        with store_errors():
            if config.default_service_factor:
                factors.write("", config.default_service_factor, now_s)
            for service, factor in config.service_factors.items():
                if factor:
                    factors.write(service, factor, now_s)

    def caches(self) -> None:
        """Bring what relayers share up to date with the chain."""
        miner, config = self._miner, self._miner.config
        CacheRefresh(
            miner.store,
            miner.keys,
            miner.queries,
            miner.metrics,
            named=config.known_applications,
            limit_s=float(config.extensions.task_slice_seconds),
        ).run()

    def measure_store(self) -> None:
        """Show how full the store is."""
        use, metrics = memory_use(self._miner.store), self._miner.metrics
        metrics.set("ha_miner_redis_used_memory_bytes", use.used)
        metrics.set("ha_miner_redis_max_memory_bytes", use.limit)

    @cached_property
    def _managed(self) -> list[str]:
        """All registered suppliers, and this node's own: the task that registers one may have been lost."""
        return sorted({*self._registration.managed(), *self._miner.signing_keys()})

    def _owned(self, suppliers: Sequence[str]) -> list[str]:
        """Those of `suppliers` some node owns now: a task for another one would only lie there.

        Leases over independent masters are shown in the data store as well.
        """
        return [s for s, owned in self._ask("EXISTS", self._miner.keys.lease, suppliers) if owned]

    def _ask(
        self, command: str, key: Callable[[str], str], suppliers: Sequence[str], *arguments: Any
    ) -> list[tuple[str, Any]]:
        replies = ask_each(self._miner.store, command, [key(supplier) for supplier in suppliers], *arguments)
        return list(zip(suppliers, replies, strict=True))

    def _idle(self, suppliers: Sequence[str]) -> list[str]:
        """Those whose queue is empty."""
        if not suppliers:
            return []
        with self._app.connection_for_write() as connection:
            pipeline = connection.default_channel.client.pipeline()
            for supplier in suppliers:
                pipeline.llen(supplier_queue(supplier))
            lengths = pipeline.execute()
        return [supplier for supplier, length in zip(suppliers, lengths, strict=True) if not length]

    def _send(self, task: str, suppliers: Sequence[str]) -> None:
        if not suppliers:
            return
        with self._app.producer_or_acquire() as producer:
            for supplier in suppliers:
                self._send_task(task, [supplier], producer)

    def _send_task(self, task: str, suppliers: Sequence[str], producer: Any) -> None:
        """Send a task about suppliers of one owner to the queue of the first."""
        queue = supplier_queue(suppliers[0])
        self._app.send_task(task, args=suppliers, queue=queue, producer=producer, expires=60.0)
