"""What a relay costs and how much a session may cost."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.claim_price import NoPrice, claimed_upokt
from pocket_protocol.difficulty import BASE_TARGET
from pocket_protocol.metering import (
    SessionLimit,
    UnusableServiceFactor,
    relay_cost_upokt,
    session_limit,
)
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.smst import Root

# the measured example of the specification: window of 12 blocks
MEASURED = SharedParams(10, 1, 1, 5, 1, 5, 2, 2, 1, 42_000_000, 1_000_000)


@pytest.mark.parametrize(
    ("compute_units", "multiplier", "granularity", "cost"),
    [
        (100, 42_000_000, 1_000_000, 4_200),
        (1_000, 100, 1, 100_000),
        (0, 42_000_000, 1_000_000, 42),  # not known: one compute unit
        (7, 33_482, 1_000_000, 0),
        (3, 1, 2, 1),
        (2**64 - 1, 2**64 - 1, 1, (2**64 - 1) ** 2),
    ],
)
def test_the_cost_of_a_relay(compute_units, multiplier, granularity, cost):
    params = replace(
        MEASURED,
        compute_units_to_tokens_multiplier=multiplier,
        compute_unit_cost_granularity=granularity,
    )
    assert relay_cost_upokt(compute_units, params) == cost


def test_without_granularity_there_is_no_cost():
    with pytest.raises(NoPrice):
        relay_cost_upokt(1, replace(MEASURED, compute_unit_cost_granularity=0))


def test_the_measured_limit_is_529_relays():
    limit = session_limit(100_000_000, 15, MEASURED)
    assert limit == SessionLimit(2_222_222, 2_222_222)
    assert limit.limit_upokt // relay_cost_upokt(100, MEASURED) == 529


def test_stake_is_divided_by_suppliers_first():
    assert session_limit(100, 7, MEASURED).limit_upokt == 100 // 7 // 3


def test_no_suppliers_and_no_windows_count_as_one():
    none = replace(
        MEASURED,
        claim_window_open_offset_blocks=0,
        claim_window_close_offset_blocks=0,
        proof_window_open_offset_blocks=0,
        proof_window_close_offset_blocks=0,
    )
    assert session_limit(100, 0, none).limit_upokt == 50


@pytest.mark.parametrize(
    ("factor", "limit", "beyond"),
    [(0.5, 50_000_000, True), (0.01, 1_000_000, False), (0.0, 0, False), (2.0, 200_000_000, True)],
)
def test_a_service_factor_is_a_part_of_the_whole_stake(factor, limit, beyond):
    got = session_limit(100_000_000, 15, MEASURED, factor)
    assert got == SessionLimit(limit, 2_222_222)
    assert got.exceeds_guaranteed is beyond


def test_a_service_factor_is_applied_to_doubles_and_truncated():
    assert session_limit(10, 1, MEASURED, 0.29).limit_upokt == 2
    assert session_limit(2**53 + 1, 1, MEASURED, 1.0).limit_upokt == 2**53


def test_a_limit_fits_the_counter():
    assert session_limit(10**30, 1, MEASURED, 1.0).limit_upokt == 2**63 - 1


@pytest.mark.parametrize("factor", [math.nan, math.inf, -0.5])
def test_an_unusable_service_factor_is_refused(factor):
    with pytest.raises(UnusableServiceFactor):
        session_limit(100, 15, MEASURED, factor)


@given(st.integers(0, 10**12), st.integers(1, 50), st.integers(1, 60))
@settings(max_examples=80)
def test_what_all_suppliers_may_serve_in_all_pending_sessions_is_staked(stake, suppliers, length):
    params = replace(MEASURED, num_blocks_per_session=length)
    limit = session_limit(stake, suppliers, params).limit_upokt
    assert limit * suppliers * (params.num_pending_sessions + 1) <= stake


@given(st.integers(1, 10**6), st.integers(1, 10**4))
@settings(max_examples=50)
def test_relays_never_cost_more_than_their_claim_is_worth(compute_units, relays):
    claim = claimed_upokt(Root(bytes(32), compute_units * relays, relays), BASE_TARGET, MEASURED)
    assert relays * relay_cost_upokt(compute_units, MEASURED) <= claim
