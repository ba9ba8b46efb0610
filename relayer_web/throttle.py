"""A bound on what invalid relays may cost (spec/signatures.md §7: rate-limit failures per peer).

Verifying costs a few hundred microseconds and is spent before the sender has proved anything. Each (peer,
application) has a bucket of failures; while it is empty, their relays are refused unseen. The bucket is
deep, because a shared proxy makes honest and dishonest senders one peer: it stops a flood, not a mistake.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from pocket_protocol.errors import Refused


class TooManyFailures(Refused):
    """Too many invalid relays from one peer for one application."""

    reason = "throttled"
    summary = "too many invalid relays"


class FailureThrottle:
    """`burst` failures at once, `per_s` more each second, for at most `limit` (peer, application) pairs."""

    def __init__(
        self,
        *,
        burst: int = 1000,
        per_s: float = 300.0,
        limit: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._per_s = per_s
        self._limit = limit
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # failures, as of

    def check(self, peer: str, application: str) -> None:
        """Raise `TooManyFailures` while the pair's bucket is empty."""
        if self._buckets and self._failures((peer, application)) >= self._burst:
            raise TooManyFailures

    def record(self, peer: str, application: str) -> None:
        """Count one invalid relay."""
        pair = (peer, application)
        with self._lock:
            self._buckets[pair] = (self._failures(pair) + 1.0, self._monotonic())
            self._buckets.move_to_end(pair)
            while len(self._buckets) > self._limit:
                self._buckets.popitem(last=False)

    def _failures(self, pair: tuple[str, str]) -> float:
        bucket = self._buckets.get(pair)
        if bucket is None:
            return 0.0
        failures, as_of = bucket
        return max(0.0, failures - (self._monotonic() - as_of) * self._per_s)
