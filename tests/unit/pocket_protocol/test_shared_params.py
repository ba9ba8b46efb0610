"""Shared parameters: rules in the chain's order and words, and a lossless value."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.pb.pocket import shared_pb2
from pocket_protocol.shared_params import InvalidSharedParams, SharedParams
from pocket_protocol.wire import decode, encode
from tests.vectors import load

VALID = SharedParams(**load("chain_sessions")["param_sets"][0]["params"])
_BLOCKS = st.integers(0, 2**64 - 1)
_FIELDS = tuple(asdict(VALID))


@given(st.lists(_BLOCKS, min_size=12, max_size=12), st.integers(1, 2**64 - 1))
@settings(max_examples=50)
def test_bytes_and_value_say_the_same(others, num_blocks):
    params = SharedParams(num_blocks, *others)
    again = SharedParams.from_proto(decode(shared_pb2.Params, encode(params.to_proto())))
    assert again == params


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"supplier_unbonding_period_sessions": 0}, "invalid SupplierUnbondingPeriodSessions: (0)"),
        ({"application_unbonding_period_sessions": 0}, "invalid ApplicationUnbondingPeriodSessions: (0)"),
        ({"gateway_unbonding_period_sessions": 0}, "invalid GatewayUnbondingPeriodSessions: (0)"),
        ({"compute_units_to_tokens_multiplier": 0}, "invalid ComputeUnitsToTokensMultiplier: (0)"),
        ({"compute_unit_cost_granularity": 0}, "invalid ComputeUnitCostGranularity: (0)"),
        (
            {"grace_period_end_offset_blocks": 10},
            "GracePeriodEndOffsetBlocks (10) must be less than NumBlocksPerSession (10)",
        ),
        (
            {"grace_period_end_offset_blocks": 2},
            "ClaimWindowOpenOffsetBlocks (1) must be at least GracePeriodEndOffsetBlocks (2)",
        ),
        (
            {"proof_window_close_offset_blocks": 6, "application_unbonding_period_sessions": 2},
            "SupplierUnbondingPeriodSessions (1 session) (10 blocks) must be greater than "
            "the cumulative ProofWindowCloseOffsetBlocks (11)",
        ),
        (
            {"proof_window_close_offset_blocks": 6, "supplier_unbonding_period_sessions": 2},
            "ApplicationUnbondingPeriodSessions (1 session) (10 blocks) must be greater than "
            "the cumulative ProofWindowCloseOffsetBlocks (11)",
        ),
        (
            {
                "grace_period_end_offset_blocks": 0,
                "claim_window_open_offset_blocks": 0,
                "claim_window_close_offset_blocks": 0,
                "proof_window_close_offset_blocks": 0,
            },
            "the claim and proof window offsets yield 0 pending sessions",
        ),
    ],
)
def test_each_rule_refuses_in_the_chains_words(changes, text):
    with pytest.raises(InvalidSharedParams) as refused:
        replace(VALID, **changes).validate()
    assert str(refused.value) == f"{text}: the provided param is invalid"


def test_a_session_without_blocks_is_no_value():
    with pytest.raises(InvalidSharedParams, match=r"invalid NumBlocksPerSession: \(0\)"):
        SharedParams.from_proto(shared_pb2.Params())


@pytest.mark.parametrize("field", _FIELDS)
def test_negative_numbers_are_no_value(field):
    with pytest.raises(InvalidSharedParams):
        replace(VALID, **{field: -1})


def test_the_longest_tail_that_fits_the_unbonding_period_is_valid():
    replace(VALID, proof_window_close_offset_blocks=5).validate()


@pytest.mark.parametrize(("close_blocks", "pending"), [(1, 1), (5, 1), (6, 2), (15, 2), (16, 3)])
def test_pending_sessions_round_up(close_blocks, pending):
    assert replace(VALID, proof_window_close_offset_blocks=close_blocks).num_pending_sessions == pending
