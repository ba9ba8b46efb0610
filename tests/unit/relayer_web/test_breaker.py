from __future__ import annotations

import threading

from relayer_web.backends.breaker import Breaker, BreakerLimits


class Watched:
    """A breaker with a clock to turn and its transitions."""

    def __init__(self, **limits: float) -> None:
        self.now = 1000.0
        self.changes: list[tuple[bool, str]] = []
        self.breaker = Breaker(
            BreakerLimits(**limits),  # type: ignore[arg-type]
            on_change=lambda healthy, cause: self.changes.append((healthy, cause)),
            monotonic=lambda: self.now,
        )

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.breaker.relay_failed("x")


def test_it_opens_at_the_threshold_and_says_so_once() -> None:
    watched = Watched(threshold=5)
    watched.fail(4)
    assert watched.breaker.is_healthy()
    watched.fail(3)
    assert not watched.breaker.is_healthy()
    assert watched.changes == [(False, "x")]


def test_a_good_relay_starts_the_count_anew() -> None:
    watched = Watched(threshold=3)
    watched.fail(2)
    watched.breaker.relay_succeeded()
    watched.fail(2)
    assert watched.breaker.is_healthy()
    assert watched.changes == []


def test_a_good_relay_revives() -> None:
    watched = Watched(threshold=1)
    watched.fail(1)
    watched.breaker.relay_succeeded()
    assert watched.breaker.is_healthy()
    assert [healthy for healthy, _ in watched.changes] == [False, True]


def test_after_the_recovery_time_one_relay_at_a_time_tries_it() -> None:
    watched = Watched(threshold=2, recovery_s=30)
    watched.fail(2)
    watched.now += 29.9
    assert not watched.breaker.is_healthy() and not watched.breaker.may_try()
    watched.now += 0.1
    assert watched.breaker.is_healthy()
    assert [watched.breaker.may_try() for _ in range(5)] == [True, False, False, False, False]
    assert watched.breaker.is_healthy()  # worth a relay: readiness must not keep the next one away
    watched.breaker.relay_succeeded()
    assert [watched.breaker.may_try() for _ in range(3)] == [True, True, True]
    assert watched.breaker.failures == 0
    assert watched.changes == [(False, "x"), (True, "relay succeeded")]


def test_a_backend_that_is_still_dead_costs_one_relay_and_waits_again() -> None:
    watched = Watched(threshold=5, recovery_s=30)
    watched.fail(5)
    for _ in range(3):
        watched.now += 30
        assert watched.breaker.may_try()
        watched.fail(1)
        assert not watched.breaker.is_healthy() and not watched.breaker.may_try()
    assert watched.changes == [(False, "x")]


def test_a_trial_that_never_ends_is_followed_by_another() -> None:
    watched = Watched(threshold=1, recovery_s=30)
    watched.fail(1)
    watched.now += 30
    assert watched.breaker.may_try()
    watched.now += 0.9
    assert not watched.breaker.may_try()
    watched.now += 0.1
    assert watched.breaker.may_try()


def test_many_threads_make_one_trial() -> None:
    watched = Watched(threshold=1, recovery_s=30)
    watched.fail(1)
    watched.now += 30
    granted: list[bool] = []
    threads = [
        threading.Thread(target=lambda: granted.extend(watched.breaker.may_try() for _ in range(50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 1


def test_failures_while_down_do_not_put_recovery_off() -> None:
    watched = Watched(threshold=1, recovery_s=30)
    watched.fail(1)
    watched.now += 20
    watched.fail(1)
    watched.now += 10
    assert watched.breaker.is_healthy()


def test_recovery_time_zero_means_never_by_time() -> None:
    watched = Watched(threshold=1, recovery_s=0)
    watched.fail(1)
    watched.now += 1e9
    assert not watched.breaker.is_healthy()


def test_failed_probes_open_it_and_put_recovery_off() -> None:
    watched = Watched(failed_probes=3, recovery_s=30)
    for _ in range(3):
        assert watched.breaker.is_healthy()
        watched.breaker.probe_failed("p")
    assert not watched.breaker.is_healthy()
    watched.now += 29
    watched.breaker.probe_failed("p")
    watched.now += 29
    assert not watched.breaker.is_healthy()
    assert watched.changes == [(False, "p")]


def test_enough_good_probes_in_a_row_close_it() -> None:
    watched = Watched(threshold=1, good_probes=2)
    watched.fail(1)
    watched.breaker.probe_succeeded()
    assert not watched.breaker.is_healthy()
    watched.breaker.probe_failed("p")
    watched.breaker.probe_succeeded()
    assert not watched.breaker.is_healthy()
    watched.breaker.probe_succeeded()
    assert watched.breaker.is_healthy()


def test_a_good_probe_resets_the_count_of_failed_relays() -> None:
    watched = Watched(threshold=3)
    watched.fail(2)
    watched.breaker.probe_succeeded()
    watched.fail(2)
    assert watched.breaker.is_healthy()


def test_failures_of_relays_and_probes_add_up() -> None:
    watched = Watched(threshold=5, failed_probes=3)
    watched.fail(2)
    watched.breaker.probe_failed("p")
    assert not watched.breaker.is_healthy()


def test_many_threads_make_one_transition() -> None:
    watched = Watched(threshold=50)
    threads = [threading.Thread(target=watched.fail, args=(25,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watched.breaker.failures == 200
    assert len(watched.changes) == 1
