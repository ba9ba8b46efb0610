"""What claims are paid, how the minted amount is split, what a missing proof costs."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.pb.pocket import tokenomics_pb2
from pocket_protocol.settlement import (
    NothingToMint,
    SessionBudget,
    Shares,
    Slash,
    TokenomicsParams,
    UnusableRevShare,
    UnusableShare,
    distribute,
    exact,
    inflation_upokt,
    max_settlement_upokt,
    mint_for_claim,
    pay_claims,
    rev_share,
    session_budget,
    slash,
    stake_terms_upokt,
)
from tests.vectors import load


def _message(mint_ratio=1.0, inflation=0.0, multiplier=1) -> tokenomics_pb2.Params:
    shares = {"dao": 0.1, "proposer": 0.05, "supplier": 0.7, "source_owner": 0.15, "application": 0.0}
    return tokenomics_pb2.Params(
        mint_ratio=mint_ratio,
        global_inflation_per_claim=inflation,
        overservicing_bonus_multiplier=multiplier,
        mint_allocation_percentages=tokenomics_pb2.MintAllocationPercentages(**shares),
        mint_equals_burn_claim_distribution=tokenomics_pb2.MintEqualsBurnClaimDistribution(**shares),
    )


LOCALNET = TokenomicsParams.from_proto(_message())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, Fraction(1, 10)),
        (0.975, Fraction(39, 40)),
        (1e-06, Fraction(1, 10**6)),
        (0.0, 0),
        (1.0, 1),
        (1e22, 10**22),
    ],
)
def test_a_double_is_its_shortest_decimal(value, expected):
    assert exact(value) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1])
def test_a_share_that_is_no_share_is_refused(value):
    with pytest.raises(UnusableShare):
        exact(value)
    with pytest.raises(UnusableShare):
        TokenomicsParams.from_proto(_message(mint_ratio=value))


@pytest.mark.parametrize("case", load("chain_economics")["settlement_arithmetic"])
def test_recorded_arithmetic(case):
    amount, inflation = case["claim_upokt"], exact(case["global_inflation_per_claim"])
    assert f"{inflation.numerator}/{inflation.denominator}" == case["global_inflation_rat"]
    assert inflation_upokt(amount, inflation) == int(case["inflation_upokt"])
    assert stake_terms_upokt(amount, inflation) == int(case["claim_in_stake_terms"])
    assert max_settlement_upokt(amount, inflation) == int(case["max_settlement_from_stake_of_same_amount"])


@pytest.mark.parametrize(
    ("stake", "pending", "claims", "limit", "expected"),
    [
        (100_000_000, 2, 1, 0, SessionBudget(50_000_000, False)),
        (100, 3, 7, 0, SessionBudget(4, False)),  # 100 // 3 // 7, in that order
        (100_000_000, 2, 3, 900_000, SessionBudget(300_000, True)),
        (100_000_000, 2, 1, 50_000_000, SessionBudget(50_000_000, False)),
        (100_000_000, 2, 1, 60_000_000, SessionBudget(50_000_000, False)),
        (0, 2, 1, 0, SessionBudget(0, False)),
    ],
)
def test_the_floor_of_a_session(stake, pending, claims, limit, expected):
    assert session_budget(stake, pending, claims, limit) == expected


def test_the_real_session_with_a_spend_limit():
    # claims of 300000 (settled), 500000 (cut to the floor); a third expired and only counts in the divisor
    params = TokenomicsParams.from_proto(_message(mint_ratio=0.975))
    floor = session_budget(10**9, 2, 3, 900_000).floor_upokt
    whole, cut = pay_claims([300_000, 500_000], floor, params)
    assert (whole.settled_upokt, whole.overserviced) == (300_000, False)
    assert (cut.settled_upokt, cut.expected_burn_upokt, cut.effective_burn_upokt) == (
        300_000,
        500_000,
        300_000,
    )
    assert cut.overserviced
    assert mint_for_claim(cut.settled_upokt, params).minted_upokt == 292_500


def test_the_real_session_without_a_limit():
    minted = mint_for_claim(300_000, LOCALNET)
    assert (minted.supplier_upokt, minted.source_owner_upokt, minted.dao_upokt, minted.proposer_upokt) == (
        210_000,
        45_000,
        30_000,
        15_000,
    )


def test_inflation_is_part_of_what_the_budget_must_hold():
    params = TokenomicsParams.from_proto(_message(inflation=0.1))
    (payment,) = pay_claims([1_000_000], 1_000_000, params)
    assert payment.expected_burn_upokt == 1_100_000
    assert payment.effective_burn_upokt == 1_000_000
    assert payment.settled_upokt == 909_090
    (fits,) = pay_claims([1_000_000], 1_100_000, params)
    assert (fits.settled_upokt, fits.overserviced) == (1_000_000, False)


@pytest.mark.parametrize(
    ("multiplier", "claims", "settled"),
    [
        (0, [50, 300], [50, 100]),
        (1, [50, 300], [50, 100]),
        (2, [50, 300], [50, 150]),  # all of the unused 50
        (2, [0, 0, 400], [0, 0, 200]),  # 2 floors, though 200 were unused
        (5, [0, 0, 400], [0, 0, 300]),
        (5, [40, 200, 300], [40, 120, 140]),  # 60 unused, shared 100 : 200
        (5, [200, 300], [100, 100]),  # nothing unused
        (5, [100, 150], [100, 100]),  # exactly at the floor leaves nothing
    ],
)
def test_what_is_left_goes_to_those_above_the_floor(multiplier, claims, settled):
    params = replace(LOCALNET, overservicing_bonus_multiplier=multiplier)
    assert [payment.settled_upokt for payment in pay_claims(claims, 100, params)] == settled


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=8),
    st.integers(0, 10**8),
    st.sampled_from([0.0, 0.1, 1e-06, 0.25]),
    st.integers(0, 9),
)
@settings(max_examples=150)
def test_never_more_than_the_budget_nor_more_than_claimed(claims, floor, inflation, multiplier):
    params = replace(
        LOCALNET, global_inflation_per_claim=exact(inflation), overservicing_bonus_multiplier=multiplier
    )
    payments = pay_claims(claims, floor, params)
    burned = sum(stake_terms_upokt(p.settled_upokt, params.global_inflation_per_claim) for p in payments)
    assert burned <= floor * len(claims)
    for payment in payments:
        assert 0 <= payment.settled_upokt <= payment.claimed_upokt
        assert payment.overserviced == (payment.expected_burn_upokt > payment.effective_burn_upokt)
        if payment.expected_burn_upokt <= floor:
            assert payment.settled_upokt == payment.claimed_upokt


@given(st.integers(1, 10**15), st.lists(st.integers(0, 25), min_size=4, max_size=4))
@settings(max_examples=80)
def test_a_distribution_adds_up_and_the_dao_gets_the_rest(minted, percents):
    shares = Shares(*(Fraction(percent, 100) for percent in percents))
    parts = distribute(minted, shares)
    named = parts.supplier_upokt + parts.proposer_upokt + parts.source_owner_upokt + parts.application_upokt
    assert named + parts.dao_upokt == parts.minted_upokt == minted
    assert parts.dao_upokt >= 0


def test_a_settlement_too_small_to_mint_is_refused():
    with pytest.raises(NothingToMint):
        mint_for_claim(1, TokenomicsParams.from_proto(_message(mint_ratio=0.975)))


def test_revenue_is_shared_and_the_first_gets_the_remainder():
    assert rev_share(100, [("a", 33), ("b", 33), ("c", 34)]) == {"a": 33, "b": 33, "c": 34}
    assert rev_share(10, [("a", 33), ("b", 33), ("c", 34)]) == {"a": 4, "b": 3, "c": 3}


@pytest.mark.parametrize(
    "shares", [[], [("a", 99)], [("a", 101)], [("a", 50), ("a", 50)], [("a", 60), ("b", 60)]]
)
def test_a_share_list_that_cannot_be_followed_is_refused(shares):
    with pytest.raises(UnusableRevShare):
        rev_share(100, shares)


@given(st.integers(0, 10**15), st.integers(1, 99))
@settings(max_examples=50)
def test_shares_add_up(amount, first):
    assert sum(rev_share(amount, [("a", first), ("b", 100 - first)]).values()) == amount


@pytest.mark.parametrize(
    ("stake", "penalty", "minimum", "expected"),
    [
        (2_000_000, 250_000, 1_000_000, Slash(250_000, 1_750_000, False)),
        (1_250_000, 250_000, 1_000_000, Slash(250_000, 1_000_000, False)),
        (1_249_999, 250_000, 1_000_000, Slash(250_000, 999_999, True)),
        (100_000, 250_000, 1_000_000, Slash(100_000, 0, True)),
        (2_000_000, 0, 1_000_000, Slash(0, 2_000_000, False)),
    ],
)
def test_a_slash_takes_at_most_the_stake(stake, penalty, minimum, expected):
    assert slash(stake, penalty, minimum) == expected
