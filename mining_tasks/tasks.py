"""Celery's tasks: thin shells. Ids in, a plain function called, its outcome counted; each is safe to run twice.

An error is logged and counted, and the task ends: blocks, tickets and the sweep bring the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import structlog

from mining_tasks import process, worker  # noqa: F401 - `worker` connects Celery's signals
from mining_tasks.accumulate import Outcome, accumulate, reclaim
from mining_tasks.advance import advance
from mining_tasks.balances import check_balance
from mining_tasks.celery import app
from mining_tasks.judgement import Fate
from mining_tasks.local_lock import supplier_lock
from mining_tasks.routing import (
    ACCUMULATE,
    ADVANCE,
    CHECK_BALANCE,
    CHECK_BALANCES,
    CLEAN_UP,
    RECONCILE,
    REFRESH_CACHES,
    REGISTER,
    SWEEP,
    TAKE_OVER,
    TIDY,
    supplier_queue,
)
from mining_tasks.sweep import Sweep
from mining_tasks.tidying import tidy
from mining_tasks.wiring import Miner
from pocket_protocol.errors import Malformed, PocketError, Refused
from pocket_protocol.types import SupplierAddress
from relay_store.durability import FSYNC_S
from relay_store.fence import NotOwner, is_owner
from relay_store.relay_stream import stream_length

ADVANCE_LOCKS = "advance"
SHORT_S = 5.0
TURN_S = 3.0  # longer than the disk is waited for

log = structlog.get_logger("tasks")


def _task(name: str) -> Callable[[Callable[..., None]], Any]:
    """Register a shell under `name`."""

    def register(run: Callable[..., None]) -> Any:
        @wraps(run)
        def shell(*args: Any, **kwargs: Any) -> None:
            started = time.monotonic()
            metrics = process.process_metrics()
            try:
                run(*args, **kwargs)
            except PocketError as error:
                _tell(name, args, error)
            finally:
                metrics.observe("ha_miner_task_seconds", time.monotonic() - started, name.partition(".")[2])

        return app.task(name=name, shared=False)(shell)

    return register


def _tell(task: str, about: Sequence[Any], error: PocketError) -> None:
    """Log and count what ended a task, or a supplier's part of it."""
    if isinstance(error, NotOwner):
        log.info("supplier belongs to another node", task=task, about=about)
        return
    process.process_metrics().count("ha_miner_task_failures", task.partition(".")[2], error.reason)
    log.warning("task failed", task=task, about=about, reason=error.reason, error=str(error)[:500])


def _each(task: str, suppliers: Sequence[str], do: Callable[[str], None]) -> None:
    """Do something for suppliers of this node; what is wrong with one keeps no other back.

    Ends when the time of a task is over, or with `Unavailable`: what is left is done next time.
    """
    deadline = time.monotonic() + process.workplace().miner.config.extensions.task_slice_seconds
    for done, supplier in enumerate(suppliers):
        if time.monotonic() > deadline:
            log.warning("no time for all suppliers", task=task, done=done, of=len(suppliers))
            return
        try:
            do(supplier)
        except (Refused, Malformed) as error:
            _tell(task, (supplier,), error)


def _count(supplier: str, outcome: Outcome) -> None:
    metrics = process.process_metrics()
    settled = sum(outcome.fates.values())
    metrics.count("ha_miner_relays_consumed_from_stream", supplier, by=settled)
    metrics.count("ha_miner_messages_acknowledged", supplier, by=settled)
    metrics.count("ha_miner_relays_added_to_smst", supplier, by=outcome.fates[Fate.NEW])
    for fate in (Fate.DUPLICATE, Fate.LATE, Fate.BELOW, Fate.DEAD):
        metrics.count("ha_miner_relays_rejected", supplier, fate.value, by=outcome.fates[fate])
    metrics.set("ha_miner_consumer_lag", outcome.remaining, supplier)
    if outcome.fates[Fate.DEAD]:
        log.error("entries are no relays of ours", supplier=supplier, entries=outcome.fates[Fate.DEAD])


def _accumulate(supplier: str) -> None:
    place = process.workplace()
    node = place.miner.accumulation
    outcome = accumulate(supplier, replace(node, limits=node.limits.on_node_of(len(place.held.current))))
    _count(supplier, outcome)
    if outcome.unfinished:
        app.send_task(ACCUMULATE, args=(supplier,), queue=supplier_queue(supplier))


def _advance(supplier: str, *, everything: bool = False) -> None:
    """Advance until no newer block has come meanwhile; another process of this node at it does the same.

    What has to be on the disk before it is sent is waited for; where that would take long for all suppliers of the
    node, it is sent by another task, so that other suppliers get theirs there in the same second. Where blocks come
    faster than steps are done, other suppliers have their turn after `TURN_S`. A task that dies before it sends another
    costs a moment: the next block and the sweep send one, too.
    """
    miner, unfinished = process.workplace().miner, False
    turn_ends = miner.monotonic() + TURN_S
    with supplier_lock(miner.accumulation.lock_dir / ADVANCE_LOCKS, supplier) as held:
        while held:
            step = advance(SupplierAddress(supplier), miner, everything=everything)
            everything, unfinished = everything and step.waiting, step.waiting
            is_turn_over = miner.monotonic() >= turn_ends
            if step.waiting and not is_turn_over and _one_by_one_s(miner) <= SHORT_S:
                miner.sleep(FSYNC_S)
                continue
            if step.owner_lost or step.height >= miner.facts.height():
                break
            if is_turn_over:
                unfinished = True
                break
    if unfinished:
        app.send_task(ADVANCE, args=(supplier,), queue=supplier_queue(supplier))


def _one_by_one_s(miner: Miner) -> float:
    """How long it takes this node at most to wait for the disk for one supplier after the other."""
    return len(miner.signing_keys()) * FSYNC_S / miner.config.extensions.process_count


@_task(ACCUMULATE)
def accumulate_relays(supplier: str) -> None:
    """Move a supplier's relays from its stream into its sessions."""
    _accumulate(supplier)


@_task(ADVANCE)
def advance_sessions(supplier: str) -> None:
    """Take a supplier's sessions one step further."""
    _advance(supplier)


@_task(TAKE_OVER)
def take_over(supplier: str) -> None:
    """Begin with a supplier this node has just acquired: what others left pending, then everything due."""
    place = process.workplace()
    reclaim(supplier, place.miner.accumulation)
    if stream_length(place.miner.store, place.miner.keys, supplier):
        _accumulate(supplier)
    _advance(supplier, everything=True)
    place.held.follow(at_once=True)
    _register(supplier)  # last: it asks a node, which may be away


@_task(REGISTER)
def register(*suppliers: str) -> None:
    """Tell relayers what the chain says of suppliers."""
    # The node may have seen a removed key earlier than this process: it would tell relayers of it again.
    process.workplace().held.follow(at_once=True)
    _each(REGISTER, suppliers, _register)


def _register(supplier: str) -> None:
    place, address = process.workplace(), SupplierAddress(supplier)
    if address not in place.held.current:
        if is_owner(
            place.miner.store, place.miner.keys, supplier, place.miner.token
        ):  # else it has a key elsewhere
            place.registration.withdraw(address, "key_removal")
        return
    place.registration.refresh(address, place.miner.facts.height())


@_task(TIDY)
def tidy_sessions(*suppliers: str) -> None:
    """Drop what has run out, and look at sessions that ended long ago."""
    _each(TIDY, suppliers, _tidy)


def _tidy(supplier: str) -> None:
    tidy(SupplierAddress(supplier), process.workplace().miner)
    _advance(supplier, everything=True)


@_task(CHECK_BALANCE)
def check_supplier_balance(*suppliers: str) -> None:
    """Warn before a supplier cannot pay."""
    miner = process.workplace().miner
    _each(CHECK_BALANCE, suppliers, lambda supplier: check_balance(SupplierAddress(supplier), miner))


# --- sent by the beat, with the epoch of the beat that sent them


def _sweep(epoch: int) -> Sweep | None:
    """Return the sweep, None for a task of a beat that has been replaced."""
    place = process.workplace()
    sweep = Sweep(app, place.miner, place.registration)
    return sweep if sweep.is_current(epoch) else None


@_task(SWEEP)
def sweep_suppliers(epoch: int) -> None:
    """Find relays and sessions nobody was sent to: the safety net."""
    if sweep := _sweep(epoch):
        sweep.streams()
        sweep.sessions()


@_task(RECONCILE)
def reconcile(epoch: int) -> None:
    """Bring every supplier's documents up to date."""
    if sweep := _sweep(epoch):
        sweep.send_all(REGISTER)
        sweep.publish_service_factors()
        sweep.measure_store()


@_task(REFRESH_CACHES)
def refresh_caches(epoch: int) -> None:
    """Keep what relayers share fresh."""
    if sweep := _sweep(epoch):
        sweep.caches()


@_task(CLEAN_UP)
def clean_up(epoch: int) -> None:
    """Tidy every supplier's sessions."""
    if sweep := _sweep(epoch):
        sweep.tidy()


@_task(CHECK_BALANCES)
def check_balances(epoch: int) -> None:
    """Check every supplier's balance."""
    if sweep := _sweep(epoch):
        sweep.send_all(CHECK_BALANCE)
