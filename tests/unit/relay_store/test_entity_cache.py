"""The three levels of the entity cache, and the reference's faults in them that are absent here."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket_protocol.errors import Refused, Unavailable
from relay_store.connection import Store, connect
from relay_store.entity_cache import (
    EntityCache,
    Lifetimes,
    MalformedInvalidation,
    SharedLevel,
    invalidate_by_message,
)


class Absent(Refused):
    reason = "absent"


class Chain:
    """A chain that counts its questions; each value is the number of the question."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.gate: threading.Event | None = None

    def load(self, key: str) -> str:
        self.asked += 1
        number = self.asked
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return f"{key}#{number}"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def shared(ttl_s: float = 300.0) -> SharedLevel[str, str]:
    return SharedLevel(
        key=lambda key: f"ha:cache:thing:{key}",
        encode=str.encode,
        decode=lambda key, data: data.decode(),
        ttl_s=lambda key, value: ttl_s,
        lock_key=lambda key: f"ha:cache:lock:thing:{key}",
    )


def cache(chain: Chain, clock: Clock, store: Store | None = None, **lifetimes) -> EntityCache[str, str]:
    return EntityCache(
        "thing",
        chain.load,
        Lifetimes(**{"fresh_s": 60.0, **lifetimes}),
        client=store.client if store else None,
        shared=shared() if store else None,
        monotonic=clock,
    )


def test_first_level_lives_its_time() -> None:
    chain, clock = Chain(), Clock()
    things = cache(chain, clock)
    assert [things.get("a"), things.get("a"), things.peek("a")] == ["a#1"] * 3
    clock.now += 59.9
    assert things.get("a") == "a#1"
    clock.now += 0.1
    assert things.peek("a") is None
    assert things.get("a") == "a#2"


def test_a_value_that_ran_out_is_still_had_and_an_absence_is_none() -> None:
    chain, clock = Chain(), Clock()
    made = cache(chain, clock)
    assert not made.has("a")
    made.get("a")
    clock.now += 3600
    assert made.has("a") and made.peek("a") is None
    made.invalidate("a")
    chain.error = Absent()
    with pytest.raises(Absent):
        made.get("a")
    assert not made.has("a")


def test_second_level_is_shared_and_lives_its_time(store: Store) -> None:
    chain, clock = Chain(), Clock()
    assert cache(chain, clock, store).get("a") == "a#1"
    assert cache(chain, clock, store).get("a") == "a#1"
    assert 290 < store.client.ttl("ha:cache:thing:a") <= 300
    assert store.client.exists("ha:cache:lock:thing:a") == 0
    store.client.delete("ha:cache:thing:a")
    assert cache(chain, clock, store).get("a") == "a#2"


def test_an_unreadable_second_level_is_a_miss_and_is_replaced(store: Store) -> None:
    chain, clock = Chain(), Clock()
    store.client.set("ha:cache:thing:a", b"\xff\xfe")
    assert cache(chain, clock, store).get("a") == "a#1"
    assert store.client.get("ha:cache:thing:a") == b"a#1"


def test_callers_of_one_process_share_one_question(store: Store) -> None:
    chain, clock = Chain(), Clock()
    chain.gate = threading.Event()
    things = cache(chain, clock, store)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(things.get("a"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    waited = threading.Event()
    while chain.asked == 0:
        assert not waited.wait(0.001)
    chain.gate.set()
    for thread in threads:
        thread.join(10)
    assert answers == ["a#1"] * 20
    assert chain.asked == 1


def test_another_process_s_question_is_awaited_and_its_lock_left_alone(store: Store) -> None:
    """Reference: a loser of the lock deletes it, though it is not its own."""
    chain, clock = Chain(), Clock()
    store.client.set("ha:cache:lock:thing:a", "someone else", ex=5)
    assert cache(chain, clock, store).get("a") == "a#1"  # they never answered: asked after a short wait
    assert store.client.get("ha:cache:lock:thing:a") == b"someone else"


def test_locks_are_counted_by_who_had_them(store: Store) -> None:
    counted: list[tuple[str, str, str]] = []
    made = EntityCache(
        "thing",
        Chain().load,
        Lifetimes(fresh_s=60.0),
        client=store.client,
        shared=shared(),
        count=lambda *event: counted.append(event),
    )
    made.get("a")
    store.client.set("ha:cache:lock:thing:b", "someone else", ex=5)
    made.get("b")
    assert [event for event in counted if event[1] == "lock"] == [
        ("thing", "lock", "acquired"),
        ("thing", "lock", "contended"),
    ]


def test_a_lock_that_ran_out_and_was_taken_by_another_is_not_freed(store: Store) -> None:
    chain, _clock = Chain(), Clock()

    def slow(key: str) -> str:
        store.client.set("ha:cache:lock:thing:a", "the next one", ex=5)
        return chain.load(key)

    things = EntityCache("thing", slow, Lifetimes(fresh_s=60), client=store.client, shared=shared())
    assert things.get("a") == "a#1"
    assert store.client.get("ha:cache:lock:thing:a") == b"the next one"


def test_redis_being_away_costs_only_the_second_level() -> None:
    """Reference: a lock error fails the read."""
    chain, clock = Chain(), Clock()
    away = connect("redis://127.0.0.1:1", timeout_s=0.2, connect_timeout_s=0.2)
    assert cache(chain, clock, away).get("a") == "a#1"


def test_absence_is_remembered_briefly() -> None:
    chain, clock = Chain(), Clock()
    chain.error = Absent()
    things = cache(chain, clock, absent_s=2.0)
    for _ in range(3):
        with pytest.raises(Absent):
            things.get("a")
    assert chain.asked == 1
    clock.now += 2.0
    chain.error = None
    assert things.get("a") == "a#2"


def test_a_chain_that_is_away_is_not_asked_again_at_once_and_old_values_help_out() -> None:
    chain, clock = Chain(), Clock()
    things = cache(chain, clock, stale_s=100.0, retry_s=0.5)
    assert things.get("a") == "a#1"
    clock.now += 60.0
    chain.error = Unavailable()
    assert [things.get("a") for _ in range(5)] == ["a#1"] * 5
    assert chain.asked == 2
    clock.now += 100.0
    for _ in range(5):
        with pytest.raises(Unavailable):
            things.get("a")
    assert chain.asked == 3
    clock.now += 0.5
    chain.error = None
    assert things.get("a") == "a#4"


def test_growth_is_bounded() -> None:
    chain, clock = Chain(), Clock()
    things = cache(chain, clock, limit=10)
    for number in range(100):
        things.get(str(number))
    assert len(things) == 10
    chain.error = Absent()
    for number in range(100, 200):
        with pytest.raises(Absent):
            things.get(str(number))
    assert len(things) == 10


def test_what_ran_out_goes_when_something_new_comes() -> None:
    chain, clock = Chain(), Clock()
    things = cache(chain, clock, stale_s=30.0)
    for number in range(5):
        things.get(str(number))
        clock.now += 10.0
    clock.now += 50.0  # the first two are 100 and 90 s old
    things.get("new")
    assert sorted(things.known()) == ["2", "3", "4", "new"]
    clock.now += 1000.0
    things.get("newer")
    assert things.known() == ["newer"]


def test_what_ran_out_before_it_could_be_kept_is_given_all_the_same() -> None:
    """A process that is stopped in between, or has no processor for a while."""
    chain = Chain()
    moments = iter(range(0, 100_000, 1000))
    things = EntityCache("thing", chain.load, Lifetimes(fresh_s=60.0), monotonic=lambda: next(moments))
    assert things.get("a") == "a#1"
    assert len(things) == 0


def test_what_was_asked_before_an_invalidation_is_not_kept() -> None:
    chain, clock = Chain(), Clock()
    chain.gate = threading.Event()
    things = cache(chain, clock)
    reader = threading.Thread(target=lambda: things.get("a"))
    reader.start()
    waited = threading.Event()
    while chain.asked == 0:
        assert not waited.wait(0.001)
    things.invalidate("a")
    chain.gate.set()
    reader.join(10)
    assert things.get("a") == "a#2"


def test_refresh_asks_the_chain_and_writes_all_levels(store: Store) -> None:
    chain, clock = Chain(), Clock()
    things = cache(chain, clock, store)
    assert things.get("a") == "a#1"
    assert things.refresh("a") == "a#2"
    assert things.get("a") == "a#2"
    assert store.client.get("ha:cache:thing:a") == b"a#2"


def apply(payload: bytes) -> list[str]:
    done: list[str] = []
    invalidate_by_message(payload, "address", done.append, lambda: done.append("CLEAR"))
    return done


@pytest.mark.parametrize(
    ("payload", "done"),
    [
        (b"{}", ["CLEAR"]),
        (b'{"address": "pokt1x"}', ["pokt1x"]),
        (b'{"address":"pokt1x"}', ["pokt1x"]),
        (b"{ }", []),
        (b'{"address":""}', []),
        (b'{"adress":"pokt1x"}', []),
        (b'{"address":5}', []),
    ],
)
def test_only_exactly_braces_clear(payload: bytes, done: list[str]) -> None:
    assert apply(payload) == done


@given(st.binary(max_size=60))
def test_any_other_message_clears_nothing(payload: bytes) -> None:
    if payload == b"{}":
        return
    try:
        assert "CLEAR" not in apply(payload)
    except MalformedInvalidation:
        pass


def depth(error: BaseException) -> int:
    frames, trace = 0, error.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    return frames


@pytest.mark.parametrize("kind", [Absent, Unavailable])
def test_a_remembered_refusal_does_not_grow_each_time_it_is_raised(kind: type[Exception]) -> None:
    """One kept exception would collect the frames, and thereby the relays, of all who were refused."""
    chain, clock = Chain(), Clock()
    chain.error = kind()
    things = cache(chain, clock)
    depths = []
    for _ in range(10):
        with pytest.raises(kind) as raised:
            things.get("a")
        depths.append(depth(raised.value))
    assert depths[2:] == depths[1:2] * 8
