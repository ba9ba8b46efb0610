"""Every state, at every position of the windows, with everything the chain may say."""

from __future__ import annotations

import itertools

import pytest

from mining_tasks.lifecycle import (
    Action,
    Case,
    OnChain,
    Sight,
    can_settle,
    needs_sight,
    next_action,
)
from pocket_protocol.types import Height
from pocket_protocol.windows import Windows
from relay_store.session_state import LIVE_STATES, TERMINAL_STATES, SessionState

# end 10, grace 11, claim 12..20, seed 19, proof 20..28, settlement 29
WINDOWS = Windows(*map(Height, (10, 11, 12, 20, 19, 20, 28, 29)), num_pending_sessions=2)
S, A, C = SessionState, Action, OnChain
ABSENT, OURS, OTHER = (
    lambda height, validated=False, claim=claim: Sight(claim, validated, height)
    for claim in (C.ABSENT, C.OURS, C.OTHER)
)
UNKNOWN = Sight()


def case(state: SessionState, **more: bool) -> Case:
    return Case(state, WINDOWS, **more)


@pytest.mark.parametrize(
    ("state", "height", "sight", "wanted"),
    [
        (S.ACTIVE, 9, UNKNOWN, A.WAIT),
        (S.ACTIVE, 11, UNKNOWN, A.WAIT),
        (S.ACTIVE, 12, UNKNOWN, A.SEAL),
        (S.ACTIVE, 19, UNKNOWN, A.SEAL),
        (S.ACTIVE, 19, OTHER(19), A.SEAL),
        (S.ACTIVE, 20, UNKNOWN, A.WAIT),
        (S.ACTIVE, 20, ABSENT(19), A.WAIT),
        (S.ACTIVE, 20, ABSENT(0), A.WAIT),
        (S.ACTIVE, 20, ABSENT(20), A.CLOSE_UNCLAIMED),
        (S.ACTIVE, 20, OTHER(20), A.ACCEPT_OTHER_CLAIM),
        (S.CLAIMING, 11, UNKNOWN, A.WAIT),
        (S.CLAIMING, 12, UNKNOWN, A.DRIVE_CLAIM),
        (S.CLAIMING, 12, ABSENT(12), A.DRIVE_CLAIM),
        (S.CLAIMING, 19, ABSENT(19), A.DRIVE_CLAIM),
        (S.CLAIMING, 19, OTHER(19), A.DRIVE_CLAIM),
        (S.CLAIMING, 13, OURS(13), A.CONFIRM_CLAIM),
        (S.CLAIMING, 25, OURS(25), A.CONFIRM_CLAIM),
        (S.CLAIMING, 20, UNKNOWN, A.WAIT),
        (S.CLAIMING, 20, ABSENT(19), A.WAIT),
        (S.CLAIMING, 20, ABSENT(20), A.CLOSE_UNCLAIMED),
        (S.CLAIMING, 20, OTHER(20), A.ACCEPT_OTHER_CLAIM),
        (S.CLAIMED, 14, UNKNOWN, A.WAIT),
        (S.CLAIMED, 19, UNKNOWN, A.WAIT),
        (S.CLAIMED, 20, UNKNOWN, A.DRAW_PROOF),
        (S.CLAIMED, 27, UNKNOWN, A.DRAW_PROOF),
        (S.CLAIMED, 20, OURS(20), A.DRAW_PROOF),
        (S.CLAIMED, 20, OTHER(20), A.ACCEPT_OTHER_CLAIM),
        (S.CLAIMED, 20, ABSENT(13), A.WAIT),
        (S.CLAIMED, 28, UNKNOWN, A.WAIT),
        (S.CLAIMED, 29, UNKNOWN, A.SETTLE),
        (S.CLAIMED, 21, OURS(21, True), A.CONFIRM_PROOF),
        (S.PROVING, 20, UNKNOWN, A.DRIVE_PROOF),
        (S.PROVING, 27, OURS(27), A.DRIVE_PROOF),
        (S.PROVING, 27, OURS(27, True), A.CONFIRM_PROOF),
        (S.PROVING, 28, OURS(28), A.WAIT),
        (S.PROVING, 28, OURS(28, True), A.CONFIRM_PROOF),
        (S.PROVING, 25, OTHER(25, True), A.ACCEPT_OTHER_CLAIM),
        (S.PROVING, 25, ABSENT(13), A.WAIT),
        (S.PROVING, 29, ABSENT(29), A.SETTLE),
        (S.PROVED, 28, UNKNOWN, A.WAIT),
        (S.PROVED, 29, UNKNOWN, A.SETTLE),
        (S.PROBABILISTIC_PROVED, 29, UNKNOWN, A.SETTLE),
        (S.PROOF_WINDOW_CLOSED, 29, UNKNOWN, A.SETTLE),
        (S.CLAIM_WINDOW_CLOSED, 20, UNKNOWN, A.RETIRE),
        (S.CLAIM_SKIPPED, 12, UNKNOWN, A.RETIRE),
        (S.CLAIM_TX_ERROR, 40, UNKNOWN, A.RETIRE),
        (S.CLAIM_MISSING, 40, UNKNOWN, A.RETIRE),
    ],
)
def test_the_next_action_of(state: SessionState, height: int, sight: Sight, wanted: Action) -> None:
    assert next_action(case(state), height, sight) is wanted


@pytest.mark.parametrize("state", [S.CLAIMED, S.PROVING])
@pytest.mark.parametrize("height", [20, 24, 28])
def test_a_claim_that_is_not_ours_is_never_proved(state: SessionState, height: int) -> None:
    for sight in (UNKNOWN, OTHER(height), OTHER(height, True)):
        assert next_action(case(state, other_claim=True), height, sight) is A.WAIT
    assert next_action(case(state, other_claim=True), 29) is A.SETTLE


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_a_finished_session_is_freed_once_and_only_when_settled(state: SessionState) -> None:
    if can_settle(case(state)):
        assert next_action(case(state), 100) is A.SETTLE
    assert next_action(case(state, settled=True), 100) is A.RETIRE
    assert next_action(case(state, settled=True, retired=True), 100) is A.WAIT


ALL_SIGHTS = [
    Sight(claim, validated, height)
    for claim, validated, height in itertools.product(OnChain, (False, True), (0, 15, 20, 24, 29))
]


@pytest.mark.parametrize("state", sorted(SessionState))
def test_no_money_is_risked_in_any_combination(state: SessionState) -> None:
    """Never a proof for another's claim, nothing sent outside its window, nothing closed on hearsay."""
    for height, sight, other in itertools.product(range(1, 40), ALL_SIGHTS, (False, True)):
        action = next_action(case(state, other_claim=other), height, sight)
        if action is A.DRIVE_CLAIM:
            assert WINDOWS.claim_open <= height < WINDOWS.claim_close and sight.claim is not C.OURS
        if action in (A.DRAW_PROOF, A.DRIVE_PROOF):
            assert WINDOWS.proof_open <= height < WINDOWS.proof_close and not other
            assert sight.claim in (C.OURS, C.UNKNOWN)
        if action is A.CLOSE_UNCLAIMED:
            assert sight.claim is C.ABSENT and sight.height >= WINDOWS.claim_close
        if action is A.CONFIRM_PROOF:
            assert sight.validated and sight.claim is C.OURS
        if action is A.SETTLE:
            assert height >= WINDOWS.settlement
        if state in TERMINAL_STATES:
            assert action in (A.WAIT, A.SETTLE, A.RETIRE)


@pytest.mark.parametrize("state", sorted(LIVE_STATES))
def test_a_live_session_is_never_stuck_for_good(state: SessionState) -> None:
    """However long everything was down, at last something ends the session once the chain answers."""
    for claim in (C.ABSENT, C.OURS, C.OTHER):
        assert next_action(case(state), 1000, Sight(claim, False, 1000)) is not A.WAIT


def test_the_chain_is_asked_only_when_its_answer_decides() -> None:
    assert not needs_sight(case(S.ACTIVE), 19) and needs_sight(case(S.ACTIVE), 20)
    assert not needs_sight(case(S.CLAIMING), 11) and needs_sight(case(S.CLAIMING), 12)
    assert not needs_sight(case(S.CLAIMED), 19) and needs_sight(case(S.CLAIMED), 20)
    assert not needs_sight(case(S.CLAIMED, other_claim=True), 25)
    assert not needs_sight(case(S.PROVING), 19) and needs_sight(case(S.PROVING), 20)
    assert not any(needs_sight(case(state), 30) for state in TERMINAL_STATES)
