"""Invalid relays are bounded per peer and application."""

from __future__ import annotations

import pytest

from relayer_web.throttle import FailureThrottle, TooManyFailures


def test_a_flood_is_stopped_and_forgiven_with_time() -> None:
    now = 0.0
    throttle = FailureThrottle(burst=5, per_s=1.0, monotonic=lambda: now)
    for _ in range(5):
        throttle.check("10.0.0.1", "app")
        throttle.record("10.0.0.1", "app")
    with pytest.raises(TooManyFailures):
        throttle.check("10.0.0.1", "app")
    throttle.check("10.0.0.2", "app")
    throttle.check("10.0.0.1", "another app")
    now = 1.0
    throttle.check("10.0.0.1", "app")
    throttle.record("10.0.0.1", "app")
    with pytest.raises(TooManyFailures):
        throttle.check("10.0.0.1", "app")


def test_memory_is_bounded() -> None:
    throttle = FailureThrottle(burst=1, per_s=0.0, limit=10, monotonic=lambda: 0.0)
    for number in range(100):
        throttle.record(f"peer-{number}", "app")
    assert len(throttle._buckets) == 10
    throttle.check("peer-0", "app")
    with pytest.raises(TooManyFailures):
        throttle.check("peer-99", "app")
