"""The circuit breaker of one endpoint (spec/relayer.md §2.8). No I/O; the clock comes from outside.

Failures of relays and of probes count together; any good relay starts the count anew. After the recovery time
the next look finds the endpoint healthy again, so that relays try it; a failing probe puts that off.

    healthy   -- `threshold` failed relays, or `failed_probes` failed probes, in a row --> down
    down      -- recovery time over, a good relay, or `good_probes` good probes ---------> healthy
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens and closes. `recovery_s` 0: never by time alone."""

    threshold: int = 5
    recovery_s: float = 30.0
    failed_probes: int = 3
    good_probes: int = 2


class Breaker:
    """Whether an endpoint is used. `on_change(healthy, cause)` is called once per transition."""

    def __init__(
        self,
        limits: BreakerLimits,
        *,
        on_change: Callable[[bool, str], None] = lambda healthy, cause: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._on_change = on_change
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._good_probes = 0
        self._down_since: float | None = None

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    def is_healthy(self) -> bool:
        """Tell whether the endpoint may be used; closes the breaker when the recovery time is over."""
        down_since = self._down_since
        if down_since is None:
            return True
        recovery_s = self._limits.recovery_s
        if recovery_s <= 0 or self._monotonic() - down_since < recovery_s:
            return False
        self._close("recovery time is over")
        return True

    def relay_succeeded(self) -> None:
        """A relay got an answer below 500."""
        if self._failures or self._down_since is not None:
            self._close("relay succeeded")

    def relay_failed(self, cause: str) -> None:
        """A relay got no answer (not: none in time, or a sender that left) or one of 500 and above."""
        with self._lock:
            self._failures += 1
            opened = self._down_since is None and self._failures >= self._limits.threshold
            if opened:
                self._open()
        if opened:
            self._on_change(False, cause)

    def probe_succeeded(self) -> None:
        with self._lock:
            self._failures = 0
            if self._down_since is None:
                return
            self._good_probes += 1
            enough = self._good_probes >= self._limits.good_probes
        if enough:
            self._close("probes succeeded")

    def probe_failed(self, cause: str) -> None:
        with self._lock:
            self._failures += 1
            self._good_probes = 0
            if self._failures < self._limits.failed_probes:
                return
            opened = self._down_since is None
            self._open()
        if opened:
            self._on_change(False, cause)

    def _open(self) -> None:
        self._down_since = self._monotonic()
        self._good_probes = 0

    def _close(self, cause: str) -> None:
        with self._lock:
            closed = self._down_since is not None
            self._down_since = None
            self._failures = 0
            self._good_probes = 0
        if closed:
            self._on_change(True, cause)
