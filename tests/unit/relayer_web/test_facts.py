"""Each fact at its height, shared with the reference's caches where it reads them too (decisions C7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pocket_chain.facts import ChainFacts, NoSession
from pocket_chain.node_errors import NodeUnavailable
from pocket_chain.queries import ComputeUnitsHistoryUnknown
from pocket_protocol.pb.pocket.application_pb2 import Application
from pocket_protocol.ring_members import PLACEHOLDER_PUBLIC_KEY, NoPublicKey
from relay_store.connection import Store
from relay_store.keys import Keys
from relayer_web.shared_facts import shared_facts
from tests.unit.relayer_web.relay_world import PARAMS, SERVICE, MemoryChain, address, application, public_key

KEYS = Keys()


def facts(chain: MemoryChain, store: Store, clock=lambda: 0.0) -> ChainFacts:
    caches = shared_facts(store, KEYS, block_time_s=lambda: 2.0, monotonic=clock)
    return ChainFacts(chain, caches, monotonic=clock)


def test_a_running_session_reads_live_parameters_and_an_ended_one_those_at_its_end(store: Store) -> None:
    """reference: TestCalculateMaxStake_*, TestCheckRewardEligibility_*: never a question at a future height."""
    chain = MemoryChain()
    chain.params_by_height[110] = replace(PARAMS, grace_period_end_offset_blocks=0)
    known = facts(chain, store)
    assert known.windows(110, current_height=110).grace_end == 111
    assert known.windows(110, current_height=111).grace_end == 110
    assert [question for question in chain.asked if question[0] == "shared_params_at"] == [
        ("shared_params_at", 110)
    ]


def test_prices_of_two_heights_do_not_alias(store: Store) -> None:
    chain = MemoryChain()
    chain.params_by_height[101] = replace(PARAMS, compute_units_to_tokens_multiplier=1)
    known = facts(chain, store)
    assert known.price_params(101).compute_units_to_tokens_multiplier == 1
    assert known.price_params(111).compute_units_to_tokens_multiplier == 42_000_000


def test_compute_units_change_with_the_session_only(store: Store) -> None:
    chain = MemoryChain()
    known = facts(chain, store)
    assert known.compute_units(SERVICE, 101) == 100
    chain.units = 7
    assert known.compute_units(SERVICE, 101) == 100
    assert known.compute_units(SERVICE, 111) == 7


def test_zero_compute_units_count_as_one_and_old_nodes_give_the_live_value(store: Store) -> None:
    chain = MemoryChain()
    chain.units = 0
    assert facts(chain, store).compute_units(SERVICE, 101) == 1
    store.client.flushall()
    chain.units = 9

    def unknown(service_id: str, height: int) -> int:
        raise ComputeUnitsHistoryUnknown(service_id=service_id, height=height, code="UNIMPLEMENTED")

    chain.compute_units_per_relay_at = unknown  # type: ignore[method-assign]
    assert facts(chain, store).compute_units(SERVICE, 101) == 9


def test_rings(store: Store) -> None:
    chain = MemoryChain()
    chain.apps[address("lone")] = application("lone", [])
    undelegating = application("app", [])
    undelegating.pending_undelegations[110].gateway_addresses.append(address("gateway"))
    undelegating.pending_undelegations[109].gateway_addresses.append(address("gateway2"))
    known = facts(chain, store)
    assert known.ring_keys(address("app"), 110) == {public_key("app"), public_key("gateway")}
    assert known.ring_keys(address("lone"), 110) == {public_key("lone"), PLACEHOLDER_PUBLIC_KEY}
    chain.apps[address("app")] = undelegating
    known.applications.refresh(address("app"))
    assert known.ring_keys(address("app"), 105) == {public_key("app"), public_key("gateway")}
    assert known.ring_keys(address("app"), 120) == {public_key("app"), PLACEHOLDER_PUBLIC_KEY}


def test_an_account_without_key_is_refused_and_not_kept_in_redis(store: Store) -> None:
    chain = MemoryChain()
    del chain.accounts[address("gateway")]
    with pytest.raises(NoPublicKey):
        facts(chain, store).ring_keys(address("app"), 110)
    assert not store.client.exists(KEYS.account(address("gateway")))


def test_what_the_reference_left_in_redis_is_used(store: Store) -> None:
    record = application("app", ["gateway2"], stake_upokt=5)
    store.client.set(KEYS.application(address("app")), record.SerializeToString())
    store.client.set(KEYS.account(address("app")), public_key("lone"))
    chain = MemoryChain()
    known = facts(chain, store)
    assert known.applications.get(address("app")) == record
    assert known.accounts.get(address("app")) == public_key("lone")
    assert chain.asked == []


@pytest.mark.parametrize("rubbish", [b"", b"\xff", b"short", b"x" * 34, b"{}"])
def test_rubbish_in_redis_is_a_miss(store: Store, rubbish: bytes) -> None:
    chain = MemoryChain()
    store.client.set(KEYS.account(address("app")), rubbish)
    store.client.set(KEYS.shared_params_at(101), rubbish)
    store.client.set(KEYS.cached_session(address("app"), SERVICE, 101), rubbish)
    store.client.set(KEYS.application(address("app")), rubbish)
    known = facts(chain, store)
    assert known.accounts.get(address("app")) == public_key("app")
    assert known.price_params(101) == PARAMS
    assert known.applications.get(address("app")).stake.amount == "100000000"
    assert known.sessions.get((address("app"), SERVICE, 101)).suppliers == set(chain.suppliers)


def test_every_cached_key_has_a_life_time(store: Store) -> None:
    chain = MemoryChain()
    known = facts(chain, store)
    known.ring_keys(address("app"), 110)
    known.price_params(101)
    known.services.get(SERVICE)
    known.sessions.get((address("app"), SERVICE, 101))
    cached = list(store.client.scan_iter("ha:*"))
    assert len(cached) == 7
    assert all(store.client.ttl(key) > 0 for key in cached)
    assert Application.FromString(store.client.get(KEYS.application(address("app")))).address == address(
        "app"
    )


def test_no_session_is_told_from_no_answer(store: Store) -> None:
    chain = MemoryChain()
    known = facts(chain, store)
    with pytest.raises(NoSession):
        known.sessions.get((address("app"), "unknown", 101))
    chain.error = NodeUnavailable(code="UNAVAILABLE", text="away")
    with pytest.raises(NodeUnavailable):
        known.sessions.get((address("app"), SERVICE, 101))


def test_renewals_are_bounded(store: Store) -> None:
    now = 100.0
    chain = MemoryChain()
    known = facts(chain, store, lambda: now)
    assert known.renew_application(address("app"))
    assert not known.renew_application(address("app"))
    now += 10.0
    assert known.renew_application(address("app"))


def test_another_s_entity_is_not_taken_for_its_own(store: Store) -> None:
    """Whatever wrote it there: a session is compared with headers, an application makes a ring."""
    chain = MemoryChain()
    known = facts(chain, store)
    known.sessions.get((address("app"), SERVICE, 95))
    for height in (101, 110):
        document = store.client.get(KEYS.cached_session(address("app"), SERVICE, 95))
        store.client.set(KEYS.cached_session(address("app"), SERVICE, height), document)
        assert known.sessions.get((address("app"), SERVICE, height)).header.session_start_block_height == 101
    store.client.set(KEYS.application(address("app")), application("lone", []).SerializeToString())
    assert known.applications.get(address("app")).address == address("app")
