"""The queue behind optimistic mode: bounded, tried again, and nothing leaves it uncounted."""

from __future__ import annotations

import threading

import pytest

from relay_store.store_errors import StoreUnavailable
from relayer_web.settlement_queue import QueueLimits, SettlementQueue
from relayer_web.verification import ValidationFailed
from tests.unit.relayer_web.test_wiring import eventually

LIMITS = QueueLimits(max_relays=3, max_bytes=100)


class Work:
    """What was settled, and what was lost with which error; an item named in `errors` fails with it."""

    def __init__(self) -> None:
        self.errors: dict[str, list[Exception]] = {}
        self.settled: list[str] = []
        self.lost: list[tuple[str, str]] = []
        self.hold: threading.Event | None = None

    def settle(self, item: str) -> None:
        if self.hold is not None:
            self.hold.wait(10)
        if self.errors.get(item):
            raise self.errors[item].pop(0)
        self.settled.append(item)

    def on_lost(self, item: str, error: Exception | None) -> None:
        self.lost.append((item, type(error).__name__))

    def queue(self, limits: QueueLimits = LIMITS, give_up_s: float = 60.0) -> SettlementQueue[str]:
        return SettlementQueue(limits, self.settle, self.on_lost, retry_s=0.01, give_up_s=give_up_s)


def test_places_are_bounded_by_number_and_bytes() -> None:
    queue = Work().queue()
    assert [queue.take_place(size) for size in (40, 40, 40, 20, 0)] == [True, True, False, True, False]
    queue.give_back(40)
    assert queue.take_place(40)
    assert len(queue) == 3


def test_nothing_waits_in_a_queue_of_none() -> None:
    assert not Work().queue(QueueLimits(0, 100)).take_place(1)


@pytest.mark.parametrize(
    ("errors", "settled", "lost"),
    [
        ([], ["a"], []),
        ([StoreUnavailable(), StoreUnavailable()], ["a"], []),
        ([ValidationFailed("no", cause_reason="x")], [], [("a", "ValidationFailed")]),
        ([ValueError("defect")], [], [("a", "ValueError")]),
    ],
    ids=["good", "passing", "refused", "defect"],
)
def test_every_item_is_settled_or_lost(
    errors: list[Exception], settled: list[str], lost: list[tuple[str, str]]
) -> None:
    work = Work()
    work.errors["a"] = errors
    queue = work.queue()
    assert queue.take_place(1)
    queue.put("a", 1)
    queue.start()
    eventually(lambda: len(queue) == 0)
    assert (work.settled, work.lost) == (settled, lost)
    queue.stop()


def test_what_stays_away_is_given_up() -> None:
    work = Work()
    work.errors["a"] = [StoreUnavailable() for _ in range(1000)]
    queue = work.queue(give_up_s=0.05)
    assert queue.take_place(1)
    queue.put("a", 1)
    queue.start()
    eventually(lambda: work.lost == [("a", "StoreUnavailable")])
    eventually(lambda: len(queue) == 0)
    queue.stop()


def test_what_is_not_done_when_the_process_ends_is_counted() -> None:
    work = Work()
    queue = work.queue()
    for item in ("a", "b"):
        assert queue.take_place(1)
        queue.put(item, 1)
    queue.stop(wait_s=0)
    assert work.lost == [("a", "NoneType"), ("b", "NoneType")]


def test_what_is_being_tried_again_when_the_process_ends_is_counted() -> None:
    work = Work()
    work.errors["a"] = [StoreUnavailable() for _ in range(1000)]
    queue = SettlementQueue(LIMITS, work.settle, work.on_lost, retry_s=60)
    assert queue.take_place(1)
    queue.put("a", 1)
    queue.start()
    eventually(lambda: len(work.errors["a"]) == 999)
    queue.stop(wait_s=0)
    eventually(lambda: work.lost == [("a", "NoneType")])


def test_a_closed_queue_takes_no_more_and_works_off_what_it_has() -> None:
    work = Work()
    queue = work.queue()
    assert queue.take_place(1)
    queue.close()
    assert not queue.take_place(1)
    queue.put("a", 1)
    queue.start()
    queue.stop()
    assert work.settled == ["a"]
