"""From the relay stream into the session trees, each relay exactly once (decisions.md B).

A batch is one transaction: new leaves, their index records, counters, and the entries' end in the stream
go through together or not at all, and only while this node owns the supplier and nobody else wrote in
between. Whatever fails is forgotten and read again: the entries are still pending.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from mining_tasks.batch import Batch
from mining_tasks.judgement import Fate, Judge, Judged
from mining_tasks.local_lock import supplier_lock
from mining_tasks.session_facts import SessionLookup
from pocket_protocol.errors import Unavailable
from relay_store.connection import Store
from relay_store.fence import Fence, NotOwner, open_fence
from relay_store.keys import OwnKeys
from relay_store.relay_stream import Entry, RelayStream, stream_length
from relay_store.ticket import LONGEST_GATHERING_MS, gather

BACKLOG_SLICE_S: Final = 5.0  # then it is another supplier's turn
NODE_TASKS_PER_S: Final = 100  # about a quarter of a core


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one accumulation takes on."""

    batch_entries: int = 1000
    first_read_entries: int = 50  # entry sizes are not known yet
    batch_bytes: int = 16 * 1024 * 1024
    linger_s: float = 0.25  # from one task to the next, so that batches form
    slice_s: float = BACKLOG_SLICE_S

    def on_node_of(self, suppliers: int) -> Limits:
        """These limits where so many suppliers may be busy at once: a node takes a hundred tasks a second at most."""
        linger_s = max(self.linger_s, suppliers / NODE_TASKS_PER_S)
        return replace(self, linger_s=min(linger_s, LONGEST_GATHERING_MS / 1000))


@dataclass(slots=True)
class Outcome:
    """What one accumulation did. Counts are of transactions known to have gone through."""

    fates: Counter[Fate] = field(default_factory=Counter)
    weight_mismatches: int = 0
    batches: int = 0
    retried: int = 0  # batches forgotten because somebody wrote in between
    remaining: int = 0  # entries still in the stream
    unfinished: bool = False  # the slice ended first: the caller sends itself another task
    busy: bool = False  # another process of this node is at it
    owner_lost: bool = False  # the supplier belongs to another node

    def add(self, batch: Batch) -> None:
        """Count a batch that went through."""
        self.batches += 1
        self.fates.update(judged.fate for judged in batch.judged)
        self.weight_mismatches += sum(judged.other_weight for judged in batch.judged)


@dataclass(frozen=True, slots=True)
class Accumulation:
    """Everything one node needs to accumulate: passed in once, used for every supplier."""

    store: Store
    keys: OwnKeys
    token: str  # the node's owner token
    lookup: SessionLookup
    lock_dir: Path
    limits: Limits = Limits()
    consumer_group: str = ""  # replaces the namespace's
    mixed_fleet: bool = False
    xackdel: bool = False
    monotonic: Callable[[], float] = time.monotonic

    def stream(self, supplier: str) -> RelayStream:
        """Return a reader of the supplier's stream."""
        return RelayStream(
            self.keys,
            supplier,
            group=self.consumer_group,
            mixed_fleet=self.mixed_fleet,
            xackdel=self.xackdel,
        )


def accumulate(supplier: str, node: Accumulation) -> Outcome:
    """Drain the supplier's stream into its sessions, for at most a time slice.

    Safe to run twice, at once, and after any crash. Never waits for relays: those that come meanwhile gather until
    the front end that appended them may send the next task. Raises `StoreUnavailable` and its kin: what was not
    acknowledged is read again next time.
    """
    gather(node.store, node.keys, supplier, node.limits.linger_s)
    outcome = Outcome()
    started = node.monotonic()
    while True:
        with supplier_lock(node.lock_dir, supplier) as held:
            if not held:
                outcome.busy = True
                return outcome
            settled = outcome.batches
            _drain(supplier, node, outcome, started + node.limits.slice_s)
        outcome.remaining = stream_length(node.store, node.keys, supplier)
        progressed = outcome.batches > settled
        if not outcome.remaining or outcome.owner_lost or not progressed:
            return outcome
        lasted_s = node.monotonic() - started
        if lasted_s >= node.limits.slice_s:
            outcome.unfinished = True
            return outcome
        if lasted_s < node.limits.linger_s:
            return outcome
        # Another task may have come since, and found the lock taken.


def reclaim(supplier: str, node: Accumulation) -> int:
    """Make pending for us what any consumer holds; run once when the supplier was acquired (decisions.md B3)."""
    with open_fence(node.store, node.keys, supplier, node.token) as fence:
        stream = node.stream(supplier)
        stream.create_group(fence)
        return stream.reclaim(fence)


def _drain(supplier: str, node: Accumulation, outcome: Outcome, deadline: float) -> None:
    stream = node.stream(supplier)
    count = min(node.limits.first_read_entries, node.limits.batch_entries)
    with open_fence(node.store, node.keys, supplier, node.token) as fence:
        while node.monotonic() < deadline:
            (length,) = fence.ask(("XLEN", stream.key))
            if not length:
                return
            try:
                entries = _settle_batch(supplier, node, fence, stream, count, outcome)
            except NotOwner:
                outcome.owner_lost = True
                return
            if len(entries) < count and not stream.reads_pending:
                return
            count = _next_count(node.limits, entries)


def _next_count(limits: Limits, entries: list[Entry]) -> int:
    """Return how many entries of the size just seen make a batch."""
    mean_bytes = sum(len(entry.body or b"") for entry in entries) // len(entries) + 1
    return max(1, min(limits.batch_entries, limits.batch_bytes // mean_bytes))


def _settle_batch(
    supplier: str, node: Accumulation, fence: Fence, stream: RelayStream, count: int, outcome: Outcome
) -> list[Entry]:
    """Read, judge and settle one batch; return its entries, none when there is nothing for us."""
    fence.watch()
    entries = stream.read(fence, count)
    if not entries:
        fence.forget()
        return entries
    try:
        judge = Judge(supplier, node.lookup)
        judged: list[Judged] = [judge.judge(entry) for entry in entries]
        batch = Batch(node.store, node.keys, supplier, judge.sessions, judged)
        batch.compare(fence, node.lookup.height())
        replies = fence.execute(*batch.commands(), *stream.acknowledge(entries))
    except Unavailable:
        _uncount(supplier, node, stream, entries)
        raise
    if replies is None:
        outcome.retried += 1
        stream.uncount(fence, entries)
        stream.read_again()
    else:
        outcome.add(batch)
    return entries


def _uncount(supplier: str, node: Accumulation, stream: RelayStream, entries: list[Entry]) -> None:
    """The store failed, not the entries: that delivery does not count against them, if it can be told so."""
    try:
        with open_fence(node.store, node.keys, supplier, node.token) as fence:
            stream.uncount(fence, entries)
    except Unavailable:
        return
