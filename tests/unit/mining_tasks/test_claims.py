"""Whether a claim is worth its fees, and when nothing is claimed at all."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining_tasks.claims import (
    CUPR_MISMATCH,
    EMPTY_TREE,
    UNPROFITABLE,
    Worth,
    expected_cost_upokt,
    reason_to_skip,
)
from mining_tasks.seal import SealedSession
from pocket_protocol.proof_requirement import ProofParams
from pocket_protocol.smst import Root
from pocket_protocol.types import Upokt
from relay_store.session_state import SessionRecord, SessionSnapshot, SessionState

ATTO = 10**18


def params(probability: float = 0.25, threshold: int = 1_000, fee: int = 100) -> ProofParams:
    return ProofParams(probability, Upokt(threshold), Upokt(0), Upokt(fee))


def cost(claimed: int, **of_proofs: float) -> int:
    return expected_cost_upokt(
        claimed,
        params(**of_proofs),  # type: ignore[arg-type]
        Fraction(10),
        Fraction(20),
    )


@pytest.mark.parametrize(
    ("claimed", "wanted"),
    [(999, 10 + 30), (1_000, 10 + 120), (5_000, 10 + 120)],
)
def test_the_proof_counts_as_much_as_it_is_likely(claimed: int, wanted: int) -> None:
    assert cost(claimed) == wanted


def test_fractions_of_a_upokt_count_as_whole_ones() -> None:
    assert expected_cost_upokt(1, params(0.0), Fraction(1, ATTO), Fraction(1)) == 1
    assert expected_cost_upokt(1, params(0.5, fee=1), Fraction(1, 4), Fraction(1, 2)) == 1


@given(st.integers(0, 10**12), st.floats(0, 1, allow_nan=False), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_cost_lies_between_that_without_and_that_with_a_proof(
    claimed: int, probability: float, threshold: int, fee: int
) -> None:
    found = cost(claimed, probability=probability, threshold=threshold, fee=fee)
    assert 10 <= found <= 10 + 20 + fee


def sealed(count: int, total: int, cupr: int = 10) -> SealedSession:
    snapshot = SessionSnapshot("id", "s", "a", "svc", 1, 10, cupr=cupr)
    record = SessionRecord(snapshot, SessionState.ACTIVE, {}, {})
    return SealedSession(record, Root(b"\0" * 32, total, count), ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tree", "worth", "reason"),
    [
        (sealed(0, 0), Worth(Upokt(0), 0), EMPTY_TREE),
        (sealed(2, 21), Worth(Upokt(100), 1), CUPR_MISMATCH),
        (sealed(2, 20), Worth(Upokt(100), 100), UNPROFITABLE),
        (sealed(2, 20), Worth(Upokt(101), 100), ""),
        (sealed(2, 20), None, ""),
        (sealed(2, 21), None, CUPR_MISMATCH),
        (sealed(0, 0), None, EMPTY_TREE),
    ],
)
def test_what_is_not_claimed(tree: SealedSession, worth: Worth | None, reason: str) -> None:
    assert reason_to_skip(tree, worth, claim_unprofitable=False) == reason


def test_unprofitable_sessions_are_claimed_when_that_is_wished() -> None:
    assert reason_to_skip(sealed(2, 20), Worth(Upokt(1), 100), claim_unprofitable=True) == ""
    assert reason_to_skip(sealed(0, 0), Worth(Upokt(0), 0), claim_unprofitable=True) == EMPTY_TREE
