"""Entries are acknowledged before the answer; suppliers' tasks are announced once and not forgotten."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay_store.connection import Store, connect
from relay_store.group_commit import GroupCommit, OutcomeUnknown
from relay_store.keys import Keys
from relay_store.ticket import TICKET_TTL_MS, Tickets, clear_ticket, gather, take_tickets
from relayer_web.publisher import PublishFailed, RelayPublisher, TicketFlusher
from tests.stores import kill_server, private_server
from tests.unit.relayer_web.relay_world import NotedSender

KEYS = Keys()


class Unsure:
    """A group commit whose first replies get lost after the command was executed."""

    def __init__(self, store: Store, lost_replies: int) -> None:
        self.commits = GroupCommit(store)
        self.lost_replies = lost_replies

    def run(self, *commands):
        replies = self.commits.run(*commands)
        if self.lost_replies:
            self.lost_replies -= 1
            raise OutcomeUnknown
        return replies


def test_an_entry_is_one_field_and_marks_its_supplier(store: Store) -> None:
    busy: list[str] = []
    RelayPublisher(GroupCommit(store), KEYS, busy.append).publish("S", b"entry")
    ((_, fields),) = store.client.xrange("ha:relays:S")
    assert fields == {b"data": b"entry"}
    assert store.client.ttl("ha:relays:S") == -1  # no relay ends before it was read (T22)
    assert busy == ["S"]


def test_an_append_of_unknown_outcome_is_repeated_and_counted(store: Store) -> None:
    repeats: list[int] = []
    publisher = RelayPublisher(
        Unsure(store, 2), KEYS, lambda supplier: None, on_repeat=lambda: repeats.append(1)
    )
    publisher.publish("S", b"entry")
    assert store.client.xlen("ha:relays:S") == 3
    assert len(repeats) == 2


def test_a_store_that_is_away_is_said_so_after_a_bounded_wait() -> None:
    away = connect("redis://127.0.0.1:1", timeout_s=0.2, connect_timeout_s=0.2)
    now = [0.0]

    def clock() -> float:
        now[0] += 0.3
        return now[0]

    publisher = RelayPublisher(GroupCommit(away), KEYS, lambda supplier: None, monotonic=clock)
    with pytest.raises(PublishFailed) as failed:
        publisher.publish("S", b"entry")
    assert failed.value.may_exist is False


def test_an_entry_that_may_exist_is_told_apart(store: Store) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.6
        return now[0]

    publisher = RelayPublisher(Unsure(store, 99), KEYS, lambda supplier: None, monotonic=clock)
    with pytest.raises(PublishFailed) as failed:
        publisher.publish("S", b"entry")
    assert failed.value.may_exist is True


def flusher(store: Store, sender: NotedSender, errors: list[Exception] | None = None) -> TicketFlusher:
    return TicketFlusher(store, KEYS, sender, on_error=(errors if errors is not None else []).append)


def test_one_task_per_supplier_until_the_worker_takes_the_ticket(store: Store) -> None:
    sender = NotedSender()
    front = flusher(store, sender)
    for supplier in ("A", "B", "A", "A"):
        front.mark(supplier)
    assert front.flush() == 2
    assert sender.sent == ["A", "B"]
    front.mark("A")
    assert front.flush() == 0  # its task is still on the way, and will find what was marked
    gather(store, KEYS, "A", 0)  # the task began
    assert front.flush() == 0  # nothing new was marked since
    front.mark("A")
    assert front.flush() == 1


def test_relays_gather_while_the_ticket_of_a_begun_task_lives(store: Store) -> None:
    sender, now = NotedSender(), [100.0]
    front = TicketFlusher(store, KEYS, sender, monotonic=lambda: now[0])
    front.mark("A")
    front.flush()
    gather(store, KEYS, "A", 1.5)
    for _ in range(3):
        front.mark("A")
        assert front.flush() == 0
    clear_ticket(store, KEYS, "A")  # its time is over
    now[0] += 1.0
    assert front.flush() == 0, "nobody asks before that"
    now[0] += 0.5
    assert front.flush() == 1
    assert sender.sent == ["A", "A"]
    now[0] += 9.0
    assert front.flush() == 0


def test_what_still_gathers_is_sent_when_the_front_end_stops(store: Store) -> None:
    sender = NotedSender()
    front = flusher(store, sender)
    front.mark("A")
    front.flush()
    gather(store, KEYS, "A", 1.5)
    front.mark("A")
    front.flush()
    front.stop()
    assert sender.sent == ["A", "A"]


def test_a_mark_made_while_tickets_are_asked_for_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, now = NotedSender(), [100.0]
    front = TicketFlusher(store, KEYS, sender, monotonic=lambda: now[0])
    front.mark("A")
    front.flush()
    gather(store, KEYS, "A", 0.5)
    front.mark("A")
    front.flush()
    store.client.set(KEYS.ticket("A"), 1, px=TICKET_TTL_MS)  # another front end sent the next task
    now[0] += 1.0

    def asked(*args: object) -> Tickets:
        tickets = take_tickets(*args)  # type: ignore[arg-type]
        front.mark("A")  # after that task's begin, for all we know
        return tickets

    monkeypatch.setattr("relayer_web.publisher.take_tickets", asked)
    assert front.flush() == 0
    monkeypatch.undo()
    clear_ticket(store, KEYS, "A")
    assert front.flush() == 1


def test_front_ends_share_tickets(store: Store) -> None:
    senders = [NotedSender(), NotedSender()]
    for sender in senders:
        front = flusher(store, sender)
        front.mark("A")
        front.flush()
    assert [sender.sent for sender in senders] == [["A"], []]


def test_a_task_that_could_not_be_sent_gives_its_ticket_back_and_is_tried_again(store: Store) -> None:
    sender, errors = NotedSender(), []
    front = flusher(store, sender, errors)
    sender.error = ConnectionError("broker is away")
    front.mark("A")
    assert front.flush() == 0
    assert store.client.exists(KEYS.ticket("A")) == 0
    assert [type(error) for error in errors] == [ConnectionError]
    sender.error = None
    assert front.flush() == 1
    assert sender.sent == ["A"]


def test_marks_outlive_a_store_that_is_away(tmp_path: Path) -> None:
    sender, errors = NotedSender(), []
    with private_server(tmp_path) as server:
        port = server.port
        store = connect(server.connection_url, timeout_s=0.5, connect_timeout_s=0.5)
        front = flusher(store, sender, errors)
        kill_server(server)
        front.mark("A")
        assert front.flush() == 0
        assert errors
    with private_server(tmp_path / "again", port=port):
        assert front.flush() == 1
        assert sender.sent == ["A"]
        store.close()


class QueuedSender(NotedSender):
    """Also hands what was sent to a waiting test."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: queue.Queue[str] = queue.Queue()

    def send(self, supplier: str) -> None:
        super().send(supplier)
        self.queue.put(supplier)


@contextmanager
def running(store: Store, sender: NotedSender) -> Iterator[TicketFlusher]:
    front = TicketFlusher(store, KEYS, sender, interval_s=0.02)
    front.start()
    yield front
    front.stop()


def test_the_thread_tries_again_although_nothing_new_is_marked(store: Store) -> None:
    class BrokerComesBack(QueuedSender):
        def send(self, supplier: str) -> None:
            self.error = None if self.sent or self.error else ConnectionError("broker is away")
            super().send(supplier)

    sender = BrokerComesBack()
    with running(store, sender) as front:
        front.mark("A")
        assert sender.queue.get(timeout=5) == "A"
    assert sender.sent == ["A"]


def test_the_thread_sends_what_gathered(store: Store) -> None:
    sender = QueuedSender()
    with running(store, sender) as front:
        front.mark("A")
        assert sender.queue.get(timeout=5) == "A"
        gather(store, KEYS, "A", 0.1)
        front.mark("A")
        assert sender.queue.get(timeout=5) == "A"


def test_the_thread_sends_within_moments_and_stops(store: Store) -> None:
    sender = QueuedSender()
    with running(store, sender) as front:
        front.mark("A")
        assert sender.queue.get(timeout=5) == "A"
    assert sender.sent == ["A"]
