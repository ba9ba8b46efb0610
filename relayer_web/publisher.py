"""Mined relays go to their supplier's stream, and the stream's worker is told (decisions B1; spec/relayer.md §4.2).

An answer is given only after its entry was acknowledged. An append whose outcome is not known is repeated: the
tree counts a relay once, however often it stands in the stream.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from pocket_protocol.errors import PocketError, Unavailable
from relay_store.connection import Store
from relay_store.group_commit import GroupCommit, OutcomeUnknown
from relay_store.keys import Keys
from relay_store.ticket import clear_ticket, take_tickets

REPEAT_WAIT_S: Final = 0.02
DEADLINE_S: Final = 1.0


class PublishFailed(Unavailable):
    """The entry was not acknowledged. `may_exist`: it may be in the stream all the same."""

    reason = "publish_failed"
    summary = "service temporarily unavailable"
    may_exist: bool


class TaskSender(Protocol):
    """Sends the accumulation task of a supplier to the supplier's queue. Raises anything when it could not."""

    def send(self, supplier: str) -> None: ...


class RelayPublisher:
    """Appends entries through the worker's group commit and marks their suppliers as busy."""

    def __init__(
        self,
        commits: GroupCommit,
        keys: Keys,
        mark_busy: Callable[[str], None],
        *,
        on_repeat: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commits = commits
        self._keys = keys
        self._mark_busy = mark_busy
        self._on_repeat = on_repeat
        self._monotonic = monotonic

    def publish(self, supplier: str, entry: bytes) -> None:
        """Append `entry` and wait for the acknowledgement. Raises `PublishFailed` within about a second."""
        command: tuple[Any, ...] = ("XADD", self._keys.relay_stream(supplier), "*", "data", entry)
        deadline = self._monotonic() + DEADLINE_S
        may_exist = False
        while True:
            try:
                self._commits.run(command)
                break
            except OutcomeUnknown as error:
                may_exist = True
                failure: PocketError = error
            except PocketError as error:
                failure = error
            if self._monotonic() + REPEAT_WAIT_S >= deadline:
                raise PublishFailed(may_exist=may_exist) from failure
            if may_exist:
                self._on_repeat()
            time.sleep(REPEAT_WAIT_S)
        self._mark_busy(supplier)


class TicketFlusher:
    """Announces busy suppliers: every few milliseconds one round trip takes their tickets, one task each.

    A supplier stays marked until a task that will find its relays is on its way, so nothing is lost while store or
    broker are away; what is lost all the same (a killed process) is found by the sweep of the miners' side.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        sender: TaskSender,
        *,
        interval_s: float = 0.03,
        on_error: Callable[[Exception], None] = lambda error: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keys = keys
        self._sender = sender
        self._interval_s = interval_s
        self._on_error = on_error
        self._monotonic = monotonic
        self._busy: set[str] = set()
        self._gathering: dict[str, float] = {}  # marked too, but not to be announced before
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def mark(self, supplier: str) -> None:
        """Note that `supplier` has new entries."""
        if supplier not in self._busy and supplier not in self._gathering:
            self._busy.add(supplier)
            self._wake.set()

    def flush(self) -> int:
        """Take tickets for all marked suppliers whose time has come and send their tasks; return how many."""
        now = self._monotonic()
        busy, self._busy = self._busy, set()
        busy |= {supplier for supplier, ready_at in self._gathering.items() if ready_at <= now}
        if not busy:
            return 0
        for supplier in busy:  # before asking: what comes meanwhile is a mark of its own
            self._gathering.pop(supplier, None)
        try:
            tickets = take_tickets(self._store, self._keys, sorted(busy))
        except PocketError as error:
            self._busy |= busy
            self._on_error(error)
            return 0
        for supplier, wait_s in tickets.gathering.items():
            self._gathering[supplier] = now + wait_s
        return sum(self._send(supplier) for supplier in tickets.taken)

    def _send(self, supplier: str) -> int:
        try:
            self._sender.send(supplier)
            return 1
        except Exception as error:  # whatever the broker's client raises: the ticket goes back
            self._on_error(error)
            self._busy.add(supplier)
            try:
                clear_ticket(self._store, self._keys, supplier)
            except PocketError as also:
                self._on_error(also)
            return 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ticket-flusher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what is still to be sent, then end. What still gathers is sent too: nobody else may be marked."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5)
        self.flush()
        for supplier in sorted(self._gathering):
            self._send(supplier)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._next_s())
            self._wake.clear()
            self.flush()
            time.sleep(self._interval_s)

    def _next_s(self) -> float | None:
        """Seconds until something is to be done; None while nothing is marked."""
        if self._busy:  # left over: store or broker were away
            return 0
        if not self._gathering:
            return None
        return max(0.0, min(self._gathering.values()) - self._monotonic())
