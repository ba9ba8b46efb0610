"""The beat's safety net: work nobody was sent to, for all suppliers of the deployment (decisions.md B1).

Blocks and tickets normally bring every task. A lost message, a crashed front end or a node that missed a block leave
something behind; this finds it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

import structlog
from celery import Celery

from mining_tasks.advance import HORIZON_BLOCKS
from mining_tasks.cache_refresh import CacheRefresh
from mining_tasks.registration import Registration
from mining_tasks.routing import ACCUMULATE, ADVANCE, supplier_queue
from mining_tasks.wiring import Miner
from relay_store.probe import memory_use
from relay_store.service_factor import ServiceFactors
from relay_store.store_errors import store_errors

SWEEP_S: Final = 1.0  # how often `streams` is called
SHORTEST_PERIOD_S: Final = 5
STALE_S: Final = 30.0  # relays that wait so long are told
TOLD_EVERY_S: Final = 60.0

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
        """Send owned suppliers with entries waiting and no task on its way to accumulation."""
        lengths = self._ask(self._managed(), lambda pipe, s: pipe.xlen(self._miner.keys.relay_stream(s)))
        waiting = [supplier for supplier, length in lengths if length]
        self._send(ACCUMULATE, self._idle(self._owned(waiting)))
        self._tell_stale(waiting)

    def _tell_stale(self, waiting: Sequence[str]) -> None:
        """Raise the alarm about relays that nobody takes up, whatever the reason: they must be in a tree in time."""
        if not waiting:
            return
        keys = self._miner.keys
        now_s = self._store_time_s(keys.relay_stream(waiting[0]))
        for supplier, oldest in self._ask(
            waiting, lambda pipe, s: pipe.xrange(keys.relay_stream(s), count=1)
        ):
            age_s = now_s - int(oldest[0][0].partition(b"-")[0]) / 1000 if oldest else 0.0
            if age_s < STALE_S:
                continue
            self._miner.metrics.count("ha_miner_stale_streams", supplier)
            if (age_s - STALE_S) % TOLD_EVERY_S < SWEEP_S:
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
        suppliers = [one for one in self._managed() if crc32(one.encode()) % period_s == turn]
        keys = self._miner.keys
        due = [
            supplier
            for supplier, count in self._ask(
                suppliers, lambda pipe, s: pipe.zcount(keys.sessions(s), height - HORIZON_BLOCKS, height)
            )
            if count
        ]
        self._send(ADVANCE, self._idle(self._owned(due)))

    def send_all(self, task: str) -> None:
        """Send every owned supplier, unless its queue is busy, to `task`."""
        self._send(task, self._idle(self._owned(self._managed())))

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

    def _managed(self) -> list[str]:
        """All registered suppliers, and this node's own: the task that registers one may have been lost."""
        return sorted({*self._registration.managed(), *self._miner.signing_keys()})

    def _owned(self, suppliers: Sequence[str]) -> list[str]:
        """Those of `suppliers` some node owns now: a task for another one would only lie there.

        Leases over independent masters are shown in the data store as well.
        """
        lease = self._miner.keys.lease
        return [s for s, owned in self._ask(suppliers, lambda pipe, s: pipe.exists(lease(s))) if owned]

    def _ask(self, suppliers: Sequence[str], question: Any) -> list[tuple[str, Any]]:
        if not suppliers:
            return []
        with store_errors():
            pipeline = self._miner.store.client.pipeline(transaction=False)
            for supplier in suppliers:
                question(pipeline, supplier)
            return list(zip(suppliers, pipeline.execute(), strict=True))

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
                self._app.send_task(
                    task, args=(supplier,), queue=supplier_queue(supplier), producer=producer, expires=60.0
                )
