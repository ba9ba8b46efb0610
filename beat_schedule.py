"""The schedule table and the singleton guard of Celery Beat (decisions.md E, design.md §3).

Every node may run `celery -A mining_tasks beat` (or `-A beat_schedule`); one of them ticks. It holds the lease
`pm:beat:lease`, renews it while it ticks, and stops ticking before the lease could have run out. Each task it sends
carries the lease's epoch and does nothing when a later beat has been elected: so a beat that was stopped and wakes
up does no harm. Nothing is kept in files; a new beat begins with an empty clock, and every task is safe to run twice.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler

from mining_tasks.celery import app
from mining_tasks.config import MinerConfig
from mining_tasks.leases import lease_of, masters_of
from mining_tasks.process import identify, process_metrics
from mining_tasks.routing import CHECK_BALANCES, CLEAN_UP, CONTROL_QUEUE, RECONCILE, REFRESH_CACHES, SWEEP
from mining_tasks.sweep import SWEEP_S
from mining_tasks.wiring import keys_of, open_store
from pocket_protocol.errors import PocketError
from relay_store.version import check_version

__all__ = ["GuardedScheduler", "app", "schedule_of"]

CLEAN_UP_S = 300.0  # it looks at a week of sessions; those of the last 200 blocks are seen with each block
STANDBY_S = 0.5  # how often a beat that waits asks for the lease
MARGIN = 0.7  # of the lease's time: later than this after the last renewal nothing is sent

log = structlog.get_logger("beat")


def schedule_of(config: MinerConfig) -> dict[str, dict[str, Any]]:
    """Return the table: what is sent, and how often in seconds."""
    table: dict[str, tuple[str, float]] = {
        "sweep": (SWEEP, SWEEP_S),
        "reconcile": (RECONCILE, float(config.supplier_reconcile_interval_seconds)),
        "clean up": (CLEAN_UP, CLEAN_UP_S),
    }
    if blocks := config.extensions.cache_refresh_blocks:
        table["caches"] = (REFRESH_CACHES, max(SWEEP_S, blocks * config.block_time_seconds))
    if config.balance_monitor.enabled:
        table["balances"] = (CHECK_BALANCES, float(config.balance_monitor.check_interval_seconds))
    return {
        name: {
            "task": task,
            "schedule": every_s,
            # what is not taken up before the next but one is due is not wanted any more
            "options": {"queue": CONTROL_QUEUE, "expires": max(2 * every_s, 5.0)},
        }
        for name, (task, every_s) in table.items()
    }


class Guard:
    """The lease of the one beat, as one of those that want it sees it."""

    def __init__(self, config: MinerConfig, token: str, *, monotonic: Any = time.monotonic) -> None:
        self._store = open_store(config, "pocket-beat")
        self._all_keys = keys_of(config.redis, config.extensions)
        self._keys = self._all_keys.beat_lease()
        self._lease = lease_of(config, self._store, masters_of(config, self._store))
        self._ttl_s = config.extensions.lease_ttl_ms / 1000
        self._renew_s = config.extensions.lease_renew_ms / 1000
        self._token = token
        self._monotonic = monotonic
        self._good_since = float("-inf")  # when the last renewal that succeeded was begun
        self.epoch = 0
        self._told = ""  # the reason of the last warning; the same is not told twice a second

    @property
    def holds(self) -> bool:
        """Whether the lease is surely ours at this moment."""
        return bool(self.epoch) and self._monotonic() - self._good_since < MARGIN * self._ttl_s

    def keep(self) -> bool:
        """Take or renew the lease when it is time to; return whether it is ours."""
        now = self._monotonic()
        if self.holds and now - self._good_since < self._renew_s:
            return True
        try:
            if self.epoch and self._lease.renew([self._keys], self._token)[0]:
                self._good_since = now
            else:
                self._lose()
                self._take(now)
            self._told = ""
        except PocketError as error:
            if self._told != error.reason:
                log.warning("beat lease", reason=error.reason, error=str(error)[:200])
            self._told = error.reason
        if self.epoch and not self.holds:
            self._lose()
        return self.holds

    def _take(self, now: float) -> None:
        check_version(self._store, self._all_keys)  # beats of a later version tick then
        epoch = self._lease.acquire(self._keys, self._token)
        if epoch is not None:
            self.epoch, self._good_since = epoch, now
            log.info("this beat ticks", epoch=epoch)
            process_metrics().count("ha_miner_leader_elections")
            process_metrics().set("ha_miner_leader_status", 1)

    def _lose(self) -> None:
        if self.epoch:
            log.warning("this beat waits", epoch=self.epoch)
            process_metrics().count("ha_miner_leader_losses")
            process_metrics().set("ha_miner_leader_status", 0)
        self.epoch = 0

    def release(self) -> None:
        """Give the lease up, so that another beat need not wait for its end."""
        if self.epoch:
            self._lose()
            try:
                self._lease.release(self._keys, self._token)
            except PocketError as error:
                log.warning("beat lease not released", reason=error.reason)


class GuardedScheduler(Scheduler):
    """Celery Beat's scheduler, silent unless it holds the lease."""

    guard: Guard

    def __init__(self, *args: Any, lazy: bool = False, **options: Any) -> None:
        if not lazy:
            identity = identify()
            self.guard = Guard(identity.config, f"{identity.token}-beat-{socket.gethostname()}-{os.getpid()}")
        super().__init__(*args, lazy=lazy, **options)

    def setup_schedule(self) -> None:
        """Fill in the table; no file, no default entries."""
        self.merge_inplace(schedule_of(identify().config))

    def tick(self, *args: Any, **options: Any) -> float:
        """Send what is due if this is the beat that ticks; return the seconds to the next look."""
        if not self.guard.keep():
            self._heap = None  # what was due meanwhile was another beat's
            return STANDBY_S
        pause: float = super().tick(*args, **options)
        return min(pause, STANDBY_S)

    def apply_async(self, entry: ScheduleEntry, *args: Any, **options: Any) -> Any:
        """Send a task with the epoch of the lease; nothing when the lease may have run out meanwhile."""
        if not self.guard.holds:
            return None
        kwargs: Mapping[str, Any] = {**(entry.kwargs or {}), "epoch": self.guard.epoch}
        sent = self.Entry(
            name=entry.name,
            task=entry.task,
            schedule=entry.schedule,
            kwargs=dict(kwargs),
            options=dict(entry.options),
            app=self.app,
        )
        return super().apply_async(sent, *args, **{**options, "advance": False})

    def close(self) -> None:
        """Release the lease with everything else."""
        self.guard.release()
        super().close()
