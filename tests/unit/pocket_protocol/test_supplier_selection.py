"""Which suppliers a session has, and in which order."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_protocol.supplier_selection import (
    Candidacy,
    NoSuppliers,
    candidates_at,
    select_suppliers,
    supplier_weight,
)
from tests.vectors import load


@pytest.mark.parametrize(
    ("activation", "deactivation", "height", "active"),
    [
        (1, 0, 0, False),
        (1, 0, 1, True),
        (11, 0, 10, False),
        (11, 0, 11, True),
        (1, 11, 10, True),
        (1, 11, 11, False),
        (11, 11, 11, False),
    ],
)
def test_active_between_activation_and_deactivation(activation, deactivation, height, active):
    assert Candidacy("a", activation, deactivation).is_active(height) is active


def test_store_order_is_activation_height_then_address():
    stored = [
        Candidacy("b", 11),
        Candidacy("c", 1),
        Candidacy("a", 11),
        Candidacy("z", 21),
        Candidacy("y", 1, 5),
    ]
    assert [c.operator_address for c in candidates_at(stored, 12)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    "case", load("chain_sessions")["supplier_selection"], ids=lambda c: f"case{c['case']}"
)
def test_recorded_selections(case):
    preimage = bytes.fromhex(case["session_id_preimage_hex"])
    stored = [
        Candidacy(c["operator_address"], c["activation_height"]) for c in case["candidates_in_store_order"]
    ]
    chosen = select_suppliers(
        preimage, candidates_at(stored[::-1], case["query_height"]), case["num_suppliers_per_session"]
    )
    assert [c.operator_address for c in chosen] == case["session_suppliers_in_order"]


def test_fewer_than_wanted_stay_in_store_order_and_exactly_as_many_are_sorted():
    candidates = [Candidacy(f"supplier{i}", 1) for i in range(8)]
    by_weight = sorted(candidates, key=lambda c: supplier_weight(b"seed", c.operator_address))
    assert by_weight != candidates
    assert select_suppliers(b"seed", candidates, 9) == candidates
    assert select_suppliers(b"seed", candidates, 8) == by_weight


def test_weights_are_signed():
    weights = {supplier_weight(b"seed", f"supplier{i}") for i in range(32)}
    assert min(weights) < 0 < max(weights)
    digest = hashlib.sha3_256(b"seed.supplier0").digest()
    assert supplier_weight(b"seed", "supplier0") % 2**64 == int.from_bytes(digest[:8], "big")


def test_no_candidate_is_an_error():
    with pytest.raises(NoSuppliers):
        select_suppliers(b"seed", [], 15)


@given(
    st.sets(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=20),
    st.integers(1, 20),
    st.binary(),
)
@settings(max_examples=60)
def test_the_choice_does_not_depend_on_the_order_of_what_is_stored(addresses, wanted, seed):
    stored = [Candidacy(address, 1) for address in addresses]
    first = select_suppliers(seed, candidates_at(stored, 5), wanted)
    second = select_suppliers(
        seed, candidates_at(sorted(stored, key=lambda c: c.operator_address), 5), wanted
    )
    assert first == second
    assert len(first) == min(wanted, len(stored))
    assert len({c.operator_address for c in first}) == len(first)
