"""Relays that were answered and are still to be verified, charged and mined (decisions D3).

Bounded by number and by bytes: a place is taken before the backend is asked, so that what cannot be queued is verified
first. Threads of its own take the relays off; what fails for a passing reason is tried again until its time is over.
Nothing leaves the queue uncounted: `settle` has done its work, or `on_lost` was called with the reason.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pocket_protocol.errors import Unavailable

THREADS: Final = 16
RETRY_S: Final = 0.5
GIVE_UP_S: Final = 60.0
STOP_S: Final = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait. `max_relays` 0: nothing does."""

    max_relays: int
    max_bytes: int


class SettlementQueue(Generic[T]):
    """`settle(item)` raises `Unavailable` for what may pass; any other error ends the item with `on_lost`."""

    def __init__(
        self,
        limits: QueueLimits,
        settle: Callable[[T], None],
        on_lost: Callable[[T, Exception | None], None],
        *,
        give_up_s: float = GIVE_UP_S,
        retry_s: float = RETRY_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_lost` gets None as the error when the process ends first."""
        self._limits = limits
        self._settle = settle
        self._on_lost = on_lost
        self._give_up_s, self._retry_s = give_up_s, retry_s
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._waiting: deque[tuple[T, int, float]] = deque()  # item, bytes, when it was put
        self._relays = self._bytes = 0  # places taken, those of relays still being served included
        self._open, self._started = True, False
        self._stopping = threading.Event()

    def __len__(self) -> int:
        return self._relays

    def take_place(self, size: int) -> bool:
        """Take a place for `size` bytes; False when there is none, or when the process is to end."""
        with self._changed:
            limits = self._limits
            if not self._open or self._relays >= limits.max_relays or self._bytes + size > limits.max_bytes:
                return False
            self._relays += 1
            self._bytes += size
            return True

    def give_back(self, size: int) -> None:
        """Give back a place of that size: nothing came of it, or it is done."""
        with self._changed:
            self._relays -= 1
            self._bytes -= size
            self._changed.notify_all()

    def put(self, item: T, size: int) -> None:
        """Queue `item` in the place taken for it."""
        with self._changed:
            self._waiting.append((item, size, self._monotonic()))
            self._changed.notify_all()

    def start(self) -> None:
        self._started = True
        for number in range(THREADS if self._limits.max_relays else 0):
            threading.Thread(target=self._run, name=f"settlement-{number}", daemon=True).start()

    def close(self) -> None:
        """Take no more. Only sets a flag: it is called from a signal handler."""
        self._open = False

    def stop(self, wait_s: float = STOP_S) -> None:
        """Work off what is there; what is not done after `wait_s` is lost, and counted so."""
        self._open = False
        deadline = self._monotonic() + (wait_s if self._started else 0.0)
        with self._changed:
            while self._relays and self._monotonic() < deadline:
                self._changed.wait(0.1)
            self._stopping.set()
            lost = [item for item, _, _ in self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        for item in lost:
            self._on_lost(item, None)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._changed:
                while not self._waiting and not self._stopping.is_set():
                    self._changed.wait()
                if not self._waiting:
                    return
                item, size, put_at = self._waiting.popleft()
            try:
                self._work_off(item, put_at)
            finally:
                self.give_back(size)

    def _work_off(self, item: T, put_at: float) -> None:
        while True:
            try:
                self._settle(item)
                return
            except Unavailable as error:
                if self._monotonic() - put_at >= self._give_up_s:
                    self._on_lost(item, error)
                    return
            except Exception as error:
                self._on_lost(item, error)
                return
            if self._stopping.wait(self._retry_s):
                self._on_lost(item, None)
                return
