"""What a load test counted, and how it is shown (spec/relayer.md §8.4)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from relay_cli.relay.outcome import RelayOutcome

SHOWN_ERRORS = 10
PERCENTILES = (50, 95, 99)


def percentile(sorted_values: Sequence[float], p: float) -> float:
    """Return the value at rank p/100·(n-1) of sorted values, between two ranks interpolated."""
    rank = p / 100 * (len(sorted_values) - 1)
    low = int(rank)
    high = min(low + 1, len(sorted_values) - 1)
    return sorted_values[low] + (sorted_values[high] - sorted_values[low]) * (rank - low)


@dataclass(slots=True)
class LoadResults:
    """Counts and times of all relays sent so far. Safe to record into from many threads."""

    duration_s: float = 0.0
    network_s: list[float] = field(default_factory=list)
    build_s: float = 0.0
    verify_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    served: Counter[tuple[str, str]] = field(default_factory=Counter)  # (session id, supplier) -> relays
    session_ends: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, outcome: RelayOutcome) -> None:
        with self._lock:
            self.network_s.append(outcome.times.network_s)
            self.build_s += outcome.times.build_s
            self.verify_s += outcome.times.verify_s
            self.session_ends[outcome.session_id] = outcome.session_end
            self.served[outcome.session_id, outcome.supplier] += 1

    def record_error(self, text: str) -> None:
        with self._lock:
            self.errors[text] += 1

    @property
    def successful(self) -> int:
        return len(self.network_s)

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    @property
    def total(self) -> int:
        return self.successful + self.failed

    def latencies_ms(self) -> dict[str, float]:
        """Return min, percentiles and max of the successful relays' network times; empty without any."""
        values = sorted(1000 * seconds for seconds in self.network_s)
        if not values:
            return {}
        middle = {f"p{p}": percentile(values, p) for p in PERCENTILES}
        return {"min": values[0], **middle, "max": values[-1]}

    def to_json(self) -> dict[str, Any]:
        done = max(self.successful, 1)
        return {
            "total": self.total,
            "successful": self.successful,
            "failed": self.failed,
            "duration_s": round(self.duration_s, 3),
            "relays_per_second": round(self.total / self.duration_s, 2) if self.duration_s else 0.0,
            "network_ms": {name: round(value, 3) for name, value in self.latencies_ms().items()},
            "build_ms_mean": round(1000 * self.build_s / done, 3),
            "verify_ms_mean": round(1000 * self.verify_s / done, 3),
            "errors": dict(self.errors.most_common()),
            "served": [
                {"session_id": session, "supplier": supplier, "relays": count}
                for (session, supplier), count in sorted(self.served.items())
            ],
        }

    def lines(self) -> list[str]:
        """Return the report as text."""
        if not self.total:
            return ["No requests recorded"]
        lines = [
            "",
            "=== Load Test Results ===",
            f"Total Requests: {self.total}",
            f"Successful: {self.successful}",
            f"Errors: {self.failed}",
            f"Success Rate: {100 * self.successful / self.total:.2f}%",
            "",
            f"Duration: {self.duration_s:.3f}s",
            f"Throughput: {self.total / self.duration_s if self.duration_s else 0:.2f} RPS",
        ]
        if latencies := self.latencies_ms():
            lines += ["", "Latency Percentiles (ms):"]
            lines += [f"  {name}: {value:.2f}" for name, value in latencies.items()]
            lines += [
                "",
                f"Build and sign: {1000 * self.build_s / self.successful:.2f} ms a relay",
                f"Verify: {1000 * self.verify_s / self.successful:.2f} ms a relay",
            ]
        if self.errors:
            lines += ["", "Error Breakdown:"]
            lines += [f"  {count}: {text}" for text, count in self.errors.most_common(SHOWN_ERRORS)]
            more = len(self.errors) - SHOWN_ERRORS
            lines += [f"  ... and {more} more error types"] if more > 0 else []
        return [*lines, ""]
