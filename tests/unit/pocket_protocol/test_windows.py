"""The life of a session in blocks: windows, request timing, the mining cutoff, settlement."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.params_history import ParamsHistory
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.windows import (
    RequestTiming,
    SessionExpired,
    UnusableClock,
    Windows,
    is_minable,
    lookup_height,
    request_timing,
    settling_session_ends,
)
from tests.vectors import load

LOCALNET = SharedParams(10, 1, 1, 8, 0, 8, 20, 2, 1, 100, 1)
MAINNET = SharedParams(20, 10, 11, 10, 1, 10, 1429, 3, 3, 145_990, 1_000_000)
SESSION_116 = Windows.of(LOCALNET, 1160)


def test_the_windows_a_real_node_kept():
    assert Windows(1160, 1161, 1162, 1170, 1169, 1170, 1178, 1178, 2) == SESSION_116


@pytest.mark.parametrize("name", ["chain_live", "chain_live2"])
def test_recorded_windows(name):
    recorded = load(name)
    windows = Windows.of(SharedParams(**recorded["shared_params"]), recorded["windows"]["session_end"])
    assert {
        "grace_period_end": windows.grace_end,
        "claim_window_open": windows.claim_open,
        "claim_window_close": windows.claim_close,
        "proof_seed_block_height": windows.proof_seed,
        "proof_window_open": windows.proof_open,
        "proof_window_close": windows.proof_close,
        "settlement_height": windows.settlement,
        "num_pending_sessions": windows.num_pending_sessions,
    }.items() <= recorded["windows"].items()


def test_the_mainnet_example():
    assert Windows.of(MAINNET, 20) == Windows(20, 30, 32, 42, 42, 43, 53, 53, 2)


@pytest.mark.parametrize(
    ("height", "claim", "proof"),
    [
        (1161, False, False),
        (1162, True, False),
        (1169, True, False),
        (1170, True, True),
        (1171, False, True),
        (1178, False, True),
        (1179, False, False),
    ],
)
def test_window_borders_are_inclusive(height, claim, proof):
    assert SESSION_116.claim_window_has(height) is claim
    assert SESSION_116.proof_window_has(height) is proof


@pytest.mark.parametrize(
    ("height", "timing"),
    [
        (0, RequestTiming.ACTIVE),
        (1151, RequestTiming.ACTIVE),
        (1160, RequestTiming.ACTIVE),
        (1161, RequestTiming.GRACE),
        (1162, RequestTiming.EXPIRED),
    ],
)
def test_request_timing(height, timing):
    assert request_timing(SESSION_116, height) is timing


def test_the_chain_is_asked_at_the_start_then_at_the_end_then_not():
    assert lookup_height(SESSION_116, 1151, 1160) == 1151
    assert lookup_height(SESSION_116, 1151, 1161) == 1160
    with pytest.raises(SessionExpired) as refused:
        lookup_height(SESSION_116, 1151, 1162)
    assert str(refused.value) == (
        "session timing validation failed: session expired, session end height: 1160, "
        "current height: 1162 (grace period elapsed)"
    )


@pytest.mark.parametrize(
    ("height", "age_s", "block_time_s", "minable"),
    [
        (1161, 0.0, 1.0, True),
        (1161, 0.999, 1.0, True),
        (1161, 1.0, 1.0, False),  # block 1162 is due: it may hold the claim
        (1160, 1.999, 1.0, True),
        (1160, 2.0, 1.0, False),
        (1162, 0.0, 1.0, False),
        (1161, -5.0, 1.0, True),  # our clock is behind the block's
        (1162, -5.0, 1.0, False),
        (1161, 29.0, 30.0, True),
        (1161, 30.0, 30.0, False),
    ],
)
def test_mining_stops_where_the_claim_window_opens(height, age_s, block_time_s, minable):
    assert is_minable(SESSION_116, height, age_s, block_time_s) is minable


@pytest.mark.parametrize(
    ("age_s", "block_time_s"),
    [(math.nan, 1.0), (math.inf, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, math.nan), (0.0, math.inf)],
)
def test_an_unusable_clock_is_said_so(age_s, block_time_s):
    with pytest.raises(UnusableClock):
        is_minable(SESSION_116, 1151, age_s, block_time_s)


_OFFSET = st.integers(0, 50)


@given(st.integers(2, 60), _OFFSET, _OFFSET, _OFFSET, _OFFSET, _OFFSET, st.integers(1, 10**9))
@settings(max_examples=100)
def test_windows_follow_each_other(length, grace, claim_open, claim_close, proof_open, proof_close, end):
    params = replace(
        LOCALNET,
        num_blocks_per_session=length,
        grace_period_end_offset_blocks=min(grace, length - 1, claim_open),
        claim_window_open_offset_blocks=claim_open,
        claim_window_close_offset_blocks=claim_close,
        proof_window_open_offset_blocks=proof_open,
        proof_window_close_offset_blocks=proof_close,
    )
    w = Windows.of(params, end)
    assert w.session_end <= w.grace_end < w.claim_open <= w.claim_close <= w.proof_open <= w.proof_close
    assert w.settlement == w.proof_close
    assert w.proof_seed == w.proof_open - 1
    assert not is_minable(w, w.claim_open, 0.0, 1.0)
    assert is_minable(w, w.grace_end, 0.0, 1.0)


def test_a_block_settles_the_sessions_whose_proof_window_it_closes():
    assert settling_session_ends(ParamsHistory(LOCALNET), 1178) == (1160,)
    assert settling_session_ends(ParamsHistory(LOCALNET), 3) == ()


@pytest.mark.parametrize(
    ("claim_close", "proof_close", "settled_at"),
    [(2, 2, [28, 38, 36, 46]), (10, 9, [28, 38, 51, 61])],
    ids=["windows shrink", "windows grow"],
)
def test_a_session_settles_by_the_parameters_at_its_end(claim_close, proof_close, settled_at):
    changed = replace(
        LOCALNET,
        claim_window_close_offset_blocks=claim_close,
        proof_window_close_offset_blocks=proof_close,
    )
    history = ParamsHistory(LOCALNET).changed(changed, 15).promoted(21)  # in force from block 21
    first: dict[int, int] = {}
    for height in range(1, 90):
        for end in settling_session_ends(history, height):
            first.setdefault(end, height)
    assert [first[end] for end in (10, 20, 30, 40)] == settled_at
