"""Which parameters hold at a height, and what a governance change does to them (spec/chain.md §3.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.params_history import ParamsHistory, ParamsSnapshot
from pocket_protocol.session import session_end, session_number, session_start
from pocket_protocol.shared_params import InvalidSharedParams, SharedParams
from pocket_protocol.types import Height

GENESIS = SharedParams(10, 1, 1, 4, 0, 4, 5, 5, 1, 42_000_000, 1_000_000)
ANCHORED = replace(GENESIS, session_grid_anchor_height=1, session_number_at_anchor=1)


def test_without_history_the_live_parameters_hold_everywhere():
    history = ParamsHistory(GENESIS)
    assert [history.at(height) for height in (-1, 0, 1, 10**9)] == [GENESIS] * 4


def test_a_price_change_is_live_at_once_and_recorded_for_the_next_session():
    history = ParamsHistory(GENESIS).changed(replace(GENESIS, compute_units_to_tokens_multiplier=7), 15)
    assert history.live.compute_units_to_tokens_multiplier == 7
    assert history.live.session_grid_anchor_height == 0
    assert history.at(20) == ANCHORED
    assert history.at(21) == replace(ANCHORED, compute_units_to_tokens_multiplier=7)
    assert [s.effective_height for s in history.snapshots] == [1, 21]


def test_a_timing_change_waits_for_the_boundary_and_keeps_the_grid():
    changed = ParamsHistory(GENESIS).changed(replace(GENESIS, claim_window_close_offset_blocks=6), 20)
    assert changed.live == GENESIS
    assert changed.promoted(20).live == GENESIS
    promoted = changed.promoted(21)
    assert promoted.live == replace(ANCHORED, claim_window_close_offset_blocks=6)


def test_longer_sessions_start_a_new_grid_whose_numbers_go_on():
    history = ParamsHistory(GENESIS).changed(replace(GENESIS, num_blocks_per_session=25), 33)
    after = history.at(41)
    assert (after.session_grid_anchor_height, after.session_number_at_anchor) == (41, 5)
    assert (session_start(after, 65), session_end(after, 65)) == (41, 65)
    assert [session_number(history.at(h), h) for h in (31, 40, 41, 65, 66)] == [4, 4, 5, 5, 6]


def test_grid_fields_of_a_proposal_are_ignored():
    proposal = replace(GENESIS, gateway_unbonding_period_sessions=2, session_grid_anchor_height=999)
    assert ParamsHistory(GENESIS).changed(proposal, 5).at(11).session_grid_anchor_height == 1


def test_of_two_changes_in_a_session_the_last_is_kept_computed_from_live():
    first = ParamsHistory(GENESIS).changed(replace(GENESIS, num_blocks_per_session=20), 3)
    second = first.changed(replace(first.live, gateway_unbonding_period_sessions=3), 4)
    assert second.at(11).num_blocks_per_session == 10
    assert second.at(11).gateway_unbonding_period_sessions == 3
    assert len(second.snapshots) == 2


def test_an_invalid_change_is_refused():
    with pytest.raises(InvalidSharedParams):
        ParamsHistory(GENESIS).changed(replace(GENESIS, compute_unit_cost_granularity=0), 5)


def test_an_invalid_snapshot_is_not_promoted():
    bad = replace(GENESIS, grace_period_end_offset_blocks=10)
    history = ParamsHistory(GENESIS, (ParamsSnapshot(Height(11), bad),))
    assert history.promoted(11).live == GENESIS


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 60)), min_size=1, max_size=6),
)
@settings(max_examples=60)
def test_sessions_never_overlap_nor_leave_a_gap_whatever_lengths_governance_sets(changes):
    history, height = ParamsHistory(GENESIS), 1
    for length, wait in changes:
        for _ in range(wait):
            history = history.promoted(height)
            height += 1
        if length > 1:
            history = history.changed(
                replace(
                    history.live,
                    num_blocks_per_session=length,
                    supplier_unbonding_period_sessions=20,
                    application_unbonding_period_sessions=20,
                ),
                height,
            )
    at, number = 1, 1
    while at <= height + 50:
        params = history.at(at)
        assert (session_start(params, at), session_number(params, at)) == (at, number)
        end = session_end(params, at)
        assert all(history.at(h) == params for h in range(at, end + 1))
        at, number = end + 1, number + 1
