"""Which relays count, what one stands for, and how the target moves."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.difficulty import (
    BASE_TARGET,
    Difficulty,
    UnusableTarget,
    is_applicable,
    multiplier,
    next_ema,
    probability,
    target_for,
)
from tests.vectors import load

ECONOMICS = load("chain_economics")
_HALF = b"\x7f" + b"\xff" * 31


@pytest.mark.parametrize("case", ECONOMICS["difficulty_checks"], ids=lambda c: c["relay_hash_hex"][:6])
def test_recorded_checks(case):
    got = is_applicable(bytes.fromhex(case["relay_hash_hex"]), bytes.fromhex(case["target_hash_hex"]))
    assert got is case["volume_applicable"]


@pytest.mark.parametrize("case", ECONOMICS["difficulty_targets"], ids=lambda c: c["num_relays_ema"])
def test_recorded_targets(case):
    got = target_for(int(case["target_num_relays"]), int(case["num_relays_ema"]))
    assert got.hex() == case["new_target_hash_hex"]


@pytest.mark.parametrize("case", ECONOMICS["ema_steps"], ids=lambda c: f"{c['num_relays']}-{c['prev_ema']}")
def test_recorded_averages(case):
    assert next_ema(int(case["num_relays"]), int(case["prev_ema"])) == int(case["new_ema"])


@pytest.mark.parametrize(
    ("current", "previous", "ema"),
    [
        (6317557212811519537, 1336761971598, 631756924366926426),
        (738322814373701171, 512, 73832281437370581),
        (46948339775192, 2877763314760940404, 2589991678118823867),
        (247, 5977718120108012367, 5379946308097211121),
        (258761354, 7053173637626146991, 6347856273889408388),
    ],
)
def test_each_step_rounds_to_a_64_bit_mantissa(current, previous, ema):
    # computed with Go's big.Float; each of them comes out otherwise when one of the three roundings is left out
    assert next_ema(current, previous) == ema


def test_the_recorded_chain_of_updates():
    steps = ECONOMICS["difficulty_update_chain"]
    now = Difficulty.first(steps[0]["prev_ema"], steps[0]["target_num_relays"])
    for step in steps:
        assert now.num_relays_ema == step["prev_ema"]
        now = now.updated(step["num_relays_settled"], step["target_num_relays"])
        assert (now.num_relays_ema, now.target.hex()) == (step["new_ema"], step["new_target_hash_hex"])


@pytest.mark.parametrize("target", [b"", b"\xff" * 31, b"\xff" * 33])
def test_a_target_of_another_length_is_refused(target):
    with pytest.raises(UnusableTarget):
        is_applicable(bytes(32), target)
    with pytest.raises(UnusableTarget):
        multiplier(target)


def test_the_zero_target_lets_nothing_through_and_has_no_multiplier():
    assert not is_applicable(bytes(32), bytes(32))
    for function in (multiplier, probability):
        with pytest.raises(UnusableTarget):
            function(bytes(32))


def test_no_target_from_an_average_of_nothing():
    with pytest.raises(UnusableTarget):
        target_for(10_000, 0)
    assert target_for(0, 0) == BASE_TARGET


def test_counts_beyond_int64_are_cast_as_the_chain_casts_them():
    # -1 as int64: base * 10 / -1 does not fit 32 bytes; 1 / -1 is the base itself
    assert target_for(10, 2**64 - 1) == BASE_TARGET
    assert target_for(1, 2**64 - 2) == b"\x80" + bytes(31)


@given(st.binary(min_size=32, max_size=32).filter(any))
@settings(max_examples=50)
def test_multiplier_and_probability_are_inverse(target):
    assert multiplier(target) * probability(target) == 1
    assert multiplier(target) >= 1


@given(st.integers(1, 10**9), st.integers(1, 10**12))
@settings(max_examples=100)
def test_the_target_lets_the_wanted_share_through(wanted, average):
    target = target_for(wanted, average)
    assert len(target) == 32
    share = min(Fraction(1), Fraction(wanted, average))
    assert 0 <= share - probability(target) <= Fraction(1, 2**255)


@given(st.integers(0, 2**53), st.integers(0, 2**53))
@settings(max_examples=100)
def test_the_average_lies_between_what_was_and_what_is(current, previous):
    assert min(current, previous) - 1 <= next_ema(current, previous) <= max(current, previous)


def test_a_counted_relay_under_half_the_base_stands_for_two():
    assert int(multiplier(_HALF) * 7) == 14
