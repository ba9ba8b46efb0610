"""What is to be done about a session now: a pure function of what is known of it (spec/miner.md §3, §4.6; decisions.md C).

    active ──seal──▶ claiming ──claim seen──▶ claimed ──proof required──▶ proving ──validated──▶ proved
       │                │                        └──settled without proof──▶ probabilistic_proved
       │                └──absent after the window──▶ claim_window_closed
       └──nothing to claim, or not worth it──▶ claim_skipped      (claimed, proving)──expired──▶ proof_window_closed

Being in `claiming` or `proving` says nothing of what was sent: each is driven again until its outcome is seen on
the chain or its window is over there. A terminal state is entered once, and never left; the chain's settlement is
added to it as fields.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from pocket_protocol.windows import Windows
from relay_store.session_state import SessionState


class Action(enum.Enum):
    """The next thing to do about one session."""

    WAIT = "wait"
    SEAL = "seal"  # drain, seal, then claim or skip
    DRIVE_CLAIM = "drive_claim"  # send the stored transaction again, or make one
    CONFIRM_CLAIM = "confirm_claim"  # our claim is on the chain
    ACCEPT_OTHER_CLAIM = "accept_other_claim"  # another claim than ours stands, too late to replace it
    CLOSE_UNCLAIMED = "close_unclaimed"  # the window is over and the chain has no claim
    DRAW_PROOF = "draw_proof"  # must the claim be proved?
    DRIVE_PROOF = "drive_proof"
    CONFIRM_PROOF = "confirm_proof"  # the chain found our proof valid
    SETTLE = "settle"  # read what the chain paid
    RETIRE = "retire"  # nothing more will happen: free the leaves


class OnChain(enum.Enum):
    """What the chain has under a session and a supplier."""

    UNKNOWN = "unknown"  # not asked, or no usable answer
    ABSENT = "absent"
    OURS = "ours"  # with our root
    OTHER = "other"  # with another root


@dataclass(frozen=True, slots=True)
class Sight:
    """An answer of the chain: `height` is the last block of the node that gave it, 0 when it did not say."""

    claim: OnChain = OnChain.UNKNOWN
    validated: bool = False
    height: int = 0


NOT_SEEN: Final = Sight()


@dataclass(frozen=True, slots=True)
class Case:
    """One session as far as it matters for the next step."""

    state: SessionState
    windows: Windows
    settled: bool = False  # the chain's settlement is on record
    retired: bool = False
    other_claim: bool = False  # the claim on the chain is not ours to prove


def next_action(case: Case, height: int, sight: Sight = NOT_SEEN) -> Action:
    """Return what to do when block `height` is the last one."""
    if case.state.is_terminal:
        return _after_the_end(case, height)
    if case.state is SessionState.ACTIVE:
        return _active(case, height, sight)
    if case.state is SessionState.CLAIMING:
        return _claiming(case, height, sight)
    return _claimed(case, height, sight)


def needs_sight(case: Case, height: int) -> bool:
    """Return whether the chain must be asked for the claim before deciding."""
    windows = case.windows
    if case.state is SessionState.ACTIVE:
        return height >= windows.claim_close
    if case.state is SessionState.CLAIMING:
        return height >= windows.claim_open
    if case.state in (SessionState.CLAIMED, SessionState.PROVING):
        return windows.proof_open <= height and not case.other_claim
    return False


def can_settle(case: Case) -> bool:
    """Return whether the chain may still pay or punish: only sessions with a claim there."""
    return case.state in _WITH_CLAIM


_WITH_CLAIM: Final = frozenset(
    (
        SessionState.CLAIMED,
        SessionState.PROVING,
        SessionState.PROVED,
        SessionState.PROBABILISTIC_PROVED,
        SessionState.PROOF_WINDOW_CLOSED,
        SessionState.PROOF_TX_ERROR,
    )
)


def _active(case: Case, height: int, sight: Sight) -> Action:
    windows = case.windows
    if height < windows.claim_open:
        return Action.WAIT
    if height < windows.claim_close:  # the next block can still take a claim
        return Action.SEAL
    if sight.claim in (OnChain.OURS, OnChain.OTHER):
        return Action.ACCEPT_OTHER_CLAIM
    return _unless_lagging(sight, windows.claim_close, Action.CLOSE_UNCLAIMED)


def _claiming(case: Case, height: int, sight: Sight) -> Action:
    windows = case.windows
    if sight.claim is OnChain.OURS:
        return Action.CONFIRM_CLAIM
    if windows.claim_open <= height < windows.claim_close:
        return Action.DRIVE_CLAIM
    if height < windows.claim_open:
        return Action.WAIT
    if sight.claim is OnChain.OTHER:
        return Action.ACCEPT_OTHER_CLAIM
    return _unless_lagging(sight, windows.claim_close, Action.CLOSE_UNCLAIMED)


def _unless_lagging(sight: Sight, height: int, action: Action) -> Action:
    """Absence counts only in a state that includes block `height`."""
    return action if sight.claim is OnChain.ABSENT and sight.height >= height else Action.WAIT


def _claimed(case: Case, height: int, sight: Sight) -> Action:
    windows = case.windows
    if sight.claim is OnChain.OURS and sight.validated:
        return Action.CONFIRM_PROOF
    if height >= windows.settlement:
        return Action.SETTLE
    if case.other_claim or height < windows.proof_open:
        return Action.WAIT
    if sight.claim is OnChain.OTHER:
        return Action.ACCEPT_OTHER_CLAIM  # replaced since we saw ours: a proof of ours would be found invalid
    if sight.claim is OnChain.ABSENT or height >= windows.proof_close:
        return Action.WAIT  # a node that lags, or nothing more to send
    return Action.DRIVE_PROOF if case.state is SessionState.PROVING else Action.DRAW_PROOF


def _after_the_end(case: Case, height: int) -> Action:
    if can_settle(case) and not case.settled:
        return Action.SETTLE if height >= case.windows.settlement else Action.WAIT
    return Action.WAIT if case.retired else Action.RETIRE
