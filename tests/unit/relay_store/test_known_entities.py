"""Sets of what the deployment has met, shared with the reference's processes (spec/miner.md §5.3)."""

from __future__ import annotations

from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.known_entities import APPLICATIONS, REMEMBERED_S, RENEWED_S, SERVICES, KnownEntities

KEYS = Keys()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def known(store: Store, clock: Clock | None = None, kind: str = APPLICATIONS) -> KnownEntities:
    return KnownEntities(store, KEYS, kind, monotonic=clock or Clock())


def test_what_one_process_notes_another_reads(store: Store) -> None:
    known(store).note(["a", "b"])
    known(store, kind=SERVICES).note(["svc"])
    assert sorted(known(store).read()) == ["a", "b"]
    assert store.client.smembers("ha:cache:known:applications") == {b"a", b"b"}
    assert store.client.smembers("ha:cache:known:services") == {b"svc"}
    assert 0 < store.client.ttl("ha:cache:known:applications") <= REMEMBERED_S


def test_a_name_is_written_once_an_hour(store: Store) -> None:
    """The set's life goes on while its members are in use, and what the reference's rewriting lost comes back."""
    clock = Clock()
    noting = known(store, clock)
    noting.note(["a"])
    store.client.delete(KEYS.known(APPLICATIONS))
    clock.now = RENEWED_S - 1
    noting.note(["a"])
    assert noting.read() == []
    clock.now = RENEWED_S
    noting.note(["a"])
    assert noting.read() == ["a"]


def test_what_is_no_more_is_forgotten(store: Store) -> None:
    known(store).note(["a", "b"])
    known(store).forget("a")
    assert known(store).read() == ["b"]


def test_a_store_that_is_away_costs_only_warmth(store: Store) -> None:
    clock = Clock()
    noting = known(store, clock)
    store.client.set(KEYS.known(APPLICATIONS), "no set")
    noting.note(["a"])
    noting.forget("a")
    assert noting.read() == []
    store.client.delete(KEYS.known(APPLICATIONS))
    noting.note(["a"])  # what could not be written is written the next time
    assert noting.read() == ["a"]
