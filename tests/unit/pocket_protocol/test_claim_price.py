"""What a claim is worth, and what the chain's events estimate from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.claim_price import (
    NoPrice,
    claimed_upokt,
    estimated_compute_units,
    estimated_relays,
)
from pocket_protocol.difficulty import BASE_TARGET, UnusableTarget
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.smst import Root
from tests.vectors import load

LOCALNET = SharedParams(10, 1, 1, 8, 0, 8, 20, 2, 1, 100, 1)
_TARGETS = st.binary(min_size=32, max_size=32).filter(any)


def _root(compute_units: int, relays: int) -> Root:
    return Root(bytes(32), compute_units, relays)


def test_the_claim_of_a_real_session():
    root = Root.from_bytes(
        bytes.fromhex(
            "b09f4771f22f3ab82b39c217a76f05d1fddbf9186a3a2d41e1d6a4067afcd9500000000000000bb80000000000000003"
        )
    )
    assert claimed_upokt(root, BASE_TARGET, LOCALNET) == 300_000
    assert estimated_relays(root, BASE_TARGET) == 3


def test_every_recorded_claim():
    for case in load("chain_economics")["claims"]:
        root, target = (bytes.fromhex(case[key]) for key in ("root_hash_hex", "target_hash_hex"))
        params = replace(
            LOCALNET,
            compute_units_to_tokens_multiplier=case["compute_units_to_tokens_multiplier"],
            compute_unit_cost_granularity=case["compute_unit_cost_granularity"],
        )
        claim = Root.from_bytes(root)
        assert claimed_upokt(claim, target, params) == int(case["claimed_upokt"])
        estimated = estimated_compute_units(claim, target), estimated_relays(claim, target)
        assert estimated == (
            int(case["num_estimated_compute_units_uint64"]),
            int(case["num_estimated_relays_uint64"]),
        )


def test_the_floor_is_taken_once():
    # 3 units at 1/2 uPOKT under a target of just below half: 3 * 2.0… * 1/2 is 3, not 2 * 1
    params = replace(LOCALNET, compute_units_to_tokens_multiplier=1, compute_unit_cost_granularity=2)
    assert claimed_upokt(_root(3, 3), b"\x7f" + b"\xff" * 31, params) == 3
    assert claimed_upokt(_root(1, 1), BASE_TARGET, params) == 0


@pytest.mark.parametrize("root", [_root(0, 0), _root(5, 0), _root(0, 5), _root(4, 5)])
def test_roots_whose_numbers_allow_no_estimate(root):
    assert estimated_relays(root, BASE_TARGET) == 0


def test_the_estimate_wraps_like_a_uint64():
    assert estimated_compute_units(_root(2**63, 1), b"\x3f" + b"\xff" * 31) == 0


def test_no_granularity_no_price():
    with pytest.raises(NoPrice):
        claimed_upokt(_root(1, 1), BASE_TARGET, replace(LOCALNET, compute_unit_cost_granularity=0))


def test_no_target_no_price():
    with pytest.raises(UnusableTarget):
        claimed_upokt(_root(1, 1), bytes(32), LOCALNET)


@given(st.integers(1, 2**40), st.integers(1, 2**40), _TARGETS)
@settings(max_examples=80)
def test_two_claims_are_worth_no_more_than_one_of_both(first, second, target):
    apart = sum(claimed_upokt(_root(units, 1), target, LOCALNET) for units in (first, second))
    together = claimed_upokt(_root(first + second, 2), target, LOCALNET)
    assert apart <= together <= apart + 1
