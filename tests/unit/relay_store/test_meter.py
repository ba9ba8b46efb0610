"""The relay meter: exact under races, never without a TTL, and undone when it must be."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from relay_store.connection import Store, connect
from relay_store.group_commit import GroupCommit
from relay_store.keys import Keys
from relay_store.meter import Allowance, RelayMeter, Reservation, StakeExhausted
from relay_store.store_errors import StoreUnavailable

KEYS = Keys()
SESSION = "d5189576d09a7538a51a17330f8d54140ac9dcc9a3c9237b4872ed2caba8c5ee"
SUPPLIER = "pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj"
ALLOWANCE = Allowance(
    session_id=SESSION,
    supplier=SUPPLIER,
    application="pokt12ryynu5yjz38fa3azy97zahhnxjrt97jnr04u9",
    service_id="anvil",
    session_end_height=700,
    limit_upokt=42_000,
    factor=None,
    app_stake_upokt=999_998_220_000,
)
CONSUMED = KEYS.meter_consumed(SESSION, SUPPLIER)
META = KEYS.meter_meta(SESSION, SUPPLIER)


def meter(store: Store, ttl_s: int = 7200) -> RelayMeter:
    return RelayMeter(GroupCommit(store), KEYS, ttl_s=ttl_s, wall_clock=lambda: 1_795_346_661.9)


def test_meta_document_is_the_reference_s(store: Store) -> None:
    meter(store).reserve(replace(ALLOWANCE, limit_upokt=166_666_370_000), 10_000)
    assert store.client.get(META) == (
        b'{"session_id":"d5189576d09a7538a51a17330f8d54140ac9dcc9a3c9237b4872ed2caba8c5ee",'
        b'"app_address":"pokt12ryynu5yjz38fa3azy97zahhnxjrt97jnr04u9","service_id":"anvil",'
        b'"supplier_address":"pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj","session_end_height":700,'
        b'"max_stake_upokt":166666370000,"created_at":1795346661,"created_with_factor":0,'
        b'"created_with_app_stake":999998220000}'
    )
    assert store.client.get(CONSUMED) == b"10000"
    assert store.client.smembers(KEYS.meter_active_sessions()) == {f"{SESSION}|{SUPPLIER}".encode()}
    for key in (CONSUMED, META, KEYS.meter_active_sessions()):
        assert 7190 < store.client.ttl(key) <= 7200


def test_exactly_the_limit_is_served_then_refused_and_undone(store: Store) -> None:
    """spec/relayer-tests.md: at 2 222 000 of 2 222 222 a cost of 4 200 is refused, the counter stays."""
    front = meter(store)
    allowance = replace(ALLOWANCE, limit_upokt=2_222_222)
    store.client.set(CONSUMED, 2_222_000, ex=100)
    with pytest.raises(StakeExhausted):
        front.reserve(allowance, 4_200)
    assert store.client.get(CONSUMED) == b"2222000"
    assert front.reserve(allowance, 222).charged
    assert store.client.get(CONSUMED) == b"2222222"


def test_concurrent_first_relays_lose_no_charge(store: Store) -> None:
    """T-METER-RACE: the reference sets the counter to 0 in a second step and wipes what others charged."""
    fronts = [meter(store) for _ in range(8)]
    barrier = threading.Barrier(8)
    granted: list[Reservation] = []

    def first_relays(front: RelayMeter) -> None:
        barrier.wait()
        for _ in range(10):
            try:
                granted.append(front.reserve(replace(ALLOWANCE, limit_upokt=50_000), 1_000))
            except StakeExhausted:
                pass

    threads = [threading.Thread(target=first_relays, args=(front,)) for front in fronts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert int(store.client.get(CONSUMED)) == 1_000 * len(granted)
    assert 1 <= len(granted) <= 50


def test_a_counter_recreated_after_a_flush_has_a_life_time_and_its_meta(store: Store) -> None:
    """T-METER-RACE: after a flush the reference's counter lives for ever and its meta is gone."""
    front = meter(store)
    front.reserve(ALLOWANCE, 1_000)
    store.client.flushall()
    front.reserve(ALLOWANCE, 1_000)
    assert 7190 < store.client.ttl(CONSUMED) <= 7200
    assert store.client.exists(META) == 1
    assert store.client.scard(KEYS.meter_active_sessions()) == 1


def test_refunds_and_only_of_what_exists(store: Store) -> None:
    front = meter(store)
    reservation = front.reserve(ALLOWANCE, 1_000)
    front.reserve(ALLOWANCE, 1_000)
    front.refund(reservation)
    assert store.client.get(CONSUMED) == b"1000"
    store.client.delete(CONSUMED)
    front.refund(reservation)
    assert store.client.exists(CONSUMED) == 0


def test_an_uncharged_reservation_is_not_refunded(store: Store) -> None:
    front = meter(store)
    front.reserve(ALLOWANCE, 1_000)
    front.refund(Reservation(SESSION, SUPPLIER, 1_000, charged=False))
    assert store.client.get(CONSUMED) == b"1000"


def test_suppliers_of_one_session_have_their_own_budgets(store: Store) -> None:
    front = meter(store)
    front.reserve(replace(ALLOWANCE, limit_upokt=1_000), 1_000)
    other = replace(ALLOWANCE, supplier="pokt1re27pw4llwnatx4sq7rlggqzcm6j3f39epq2wa", limit_upokt=1_000)
    assert front.reserve(other, 1_000).charged
    front.hear_cleanup(f"{SESSION}|{SUPPLIER}".encode())
    assert store.client.exists(CONSUMED, META) == 0
    assert store.client.get(KEYS.meter_consumed(SESSION, other.supplier)) == b"1000"
    assert store.client.smembers(KEYS.meter_active_sessions()) == {f"{SESSION}|{other.supplier}".encode()}


@pytest.mark.parametrize("payload", [b"", b"session-only", b"|", b"a|", b"|b", b"\xff\xfe"])
def test_malformed_cleanup_messages_do_nothing(store: Store, payload: bytes) -> None:
    front = meter(store)
    front.reserve(ALLOWANCE, 1_000)
    front.hear_cleanup(payload)
    assert store.client.exists(CONSUMED, META) == 2


def test_a_changed_limit_rewrites_the_meta_and_keeps_its_life_time(store: Store) -> None:
    front = meter(store)
    front.reserve(ALLOWANCE, 1_000)
    store.client.expire(META, 50)
    front.reserve(replace(ALLOWANCE, limit_upokt=9_000, factor=0.5, app_stake_upokt=18_000), 1_000)
    document = json.loads(store.client.get(META))
    assert (document["max_stake_upokt"], document["created_with_factor"]) == (9_000, 0.5)
    assert store.client.ttl(META) <= 50


def test_a_store_that_is_away_is_said_so_and_counted() -> None:
    operations: list[str] = []
    away = connect("redis://127.0.0.1:1", timeout_s=0.2, connect_timeout_s=0.2)
    front = RelayMeter(
        GroupCommit(away), KEYS, ttl_s=60, wall_clock=lambda: 0.0, count_error=operations.append
    )
    with pytest.raises(StoreUnavailable):
        front.reserve(ALLOWANCE, 1_000)
    front.refund(Reservation(SESSION, SUPPLIER, 1_000, charged=True))
    assert operations == ["increment consumed", "refund"]
