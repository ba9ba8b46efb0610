"""Admission follows the store (decisions D5): no relay is served that could not be counted.

Closed when a command failed or when memory is above the limit; a probe opens it again by itself. Below the
limit everything keeps working; beyond it the miners' own writes have what is left.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Final

from pocket_protocol.errors import PocketError, Unavailable
from relay_store.connection import Store
from relay_store.probe import MemoryUse, memory_use

PROBE_S: Final = 0.5


class StoreAway(Unavailable):
    """The store did not answer lately."""

    reason = "store_unavailable"
    summary = "service temporarily unavailable"


class StoreNearlyFull(Unavailable):
    """The store's memory is above the share at which admission stops."""

    reason = "store_full"
    summary = "service temporarily unavailable"


class StoreGate:
    """Open, or closed with the reason. `check` is called for each relay, `close` when a command has failed."""

    def __init__(
        self,
        store: Store,
        *,
        limit_ratio: float = 0.85,
        on_change: Callable[[Unavailable | None], None] = lambda reason: None,
        on_use: Callable[[MemoryUse], None] = lambda use: None,
    ) -> None:
        self._store = store
        self._limit_ratio = limit_ratio
        self._on_change = on_change
        self._on_use = on_use
        self._closed: Unavailable | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Raise `StoreAway` or `StoreNearlyFull` while closed."""
        closed = self._closed
        if closed is not None:
            raise copy.copy(closed)  # its own traceback: a kept one would grow with every raise

    @property
    def is_open(self) -> bool:
        return self._closed is None

    def close(self) -> None:
        """Close at once: a command has just failed."""
        self._set(StoreAway())
        self._wake.set()

    def probe(self) -> None:
        """Look at the store and open or close accordingly."""
        try:
            use = memory_use(self._store)
        except PocketError:
            self._set(StoreAway())
            return
        self._on_use(use)
        self._set(StoreNearlyFull(share=round(use.share, 3)) if use.share >= self._limit_ratio else None)

    def start(self) -> None:
        """Probe now, and from now on in a thread of its own."""
        self.probe()
        self._thread = threading.Thread(target=self._run, name="store-gate", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(PROBE_S)
            self._wake.clear()
            if not self._stopping:
                self.probe()

    def _set(self, closed: Unavailable | None) -> None:
        changed = type(closed) is not type(self._closed)
        self._closed = closed
        if changed:
            self._on_change(closed)
