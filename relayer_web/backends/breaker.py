"""The circuit breaker of one endpoint (spec/relayer.md §2.8). No I/O; the clock comes from outside.

Failures of relays and of probes count together; any good relay starts the count anew. After the recovery time one
relay at a time tries the endpoint: a backend that is still dead costs one relay, not a threshold of them and whatever
else is on its way. A failing probe puts that off.

    healthy   -- `threshold` failed relays, or `failed_probes` failed probes, in a row --> down
    down      -- recovery time over ----------------------------------------------------> on trial
    on trial  -- a failed relay --------------------------------------------------------> down
    any       -- a good relay, or `good_probes` good probes while down ------------------> healthy
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

TRIAL_S: Final = 1.0  # a trial whose end is not told (a time-out, a simulated relay) is followed by another


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
        self._tried_at = float("-inf")

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    def is_healthy(self) -> bool:
        """Tell whether the endpoint is worth a relay: healthy, or on trial."""
        return self._down_since is None or self._is_on_trial(self._monotonic())

    def may_try(self) -> bool:
        """Tell whether this relay may have the endpoint; on trial that is one at a time."""
        if self._down_since is None:
            return True
        now = self._monotonic()
        with self._lock:
            if self._down_since is None:
                return True
            if not self._is_on_trial(now) or now - self._tried_at < TRIAL_S:
                return False
            self._tried_at = now
            return True

    def _is_on_trial(self, now: float) -> bool:
        recovery_s, down_since = self._limits.recovery_s, self._down_since
        return down_since is not None and 0 < recovery_s <= now - down_since

    def relay_succeeded(self) -> None:
        """A relay got an answer below 500."""
        if self._failures or self._down_since is not None:
            self._close("relay succeeded")

    def relay_failed(self, cause: str) -> None:
        """A relay got no answer (not: none in time, or a sender that left) or one of 500 and above."""
        with self._lock:
            self._failures += 1
            opened = self._down_since is None and self._failures >= self._limits.threshold
            if opened or self._is_on_trial(self._monotonic()):
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
        self._tried_at = float("-inf")
        self._good_probes = 0

    def _close(self, cause: str) -> None:
        with self._lock:
            closed = self._down_since is not None
            self._down_since = None
            self._failures = 0
            self._good_probes = 0
        if closed:
            self._on_change(True, cause)
