"""When things may happen to a session: requests, claims, proofs, settlement (spec/chain.md §3.1).

Every height here follows from the session's end and the shared parameters *at that end height*. Borders of
the claim and proof windows are inclusive on both sides.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.params_history import ParamsHistory
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.types import Height


class SessionExpired(Refused):
    """A request for a session whose grace period is over."""

    reason = "session_expired"
    summary = "session expired"


class UnusableClock(Malformed):
    """A block age or block time that is no finite number, or a block time that is not above zero."""

    reason = "unusable_clock"
    summary = "block age or block time is unusable"


@dataclass(frozen=True, slots=True)
class Windows:
    """The heights that matter for the session ending at `session_end`."""

    session_end: Height
    grace_end: Height  # last block in which a request is served
    claim_open: Height  # first block that may contain the claim
    claim_close: Height  # last one
    proof_seed: Height  # its hash decides the proof's path and whether a proof is required
    proof_open: Height  # first block that may contain the proof
    proof_close: Height  # last one
    settlement: Height  # the claim is settled or expires at the end of this block
    num_pending_sessions: int

    @classmethod
    def of(cls, params: SharedParams, session_end_height: int) -> Windows:
        """Return the windows of the session that ends at `session_end_height`, under `params` at that height."""
        claim_open = session_end_height + params.claim_window_open_offset_blocks + 1
        claim_close = claim_open + params.claim_window_close_offset_blocks
        proof_open = claim_close + params.proof_window_open_offset_blocks
        return cls(
            session_end=Height(session_end_height),
            grace_end=Height(session_end_height + params.grace_period_end_offset_blocks),
            claim_open=Height(claim_open),
            claim_close=Height(claim_close),
            proof_seed=Height(proof_open - 1),
            proof_open=Height(proof_open),
            proof_close=Height(proof_open + params.proof_window_close_offset_blocks),
            settlement=Height(session_end_height + params.tail_blocks + 1),
            num_pending_sessions=params.num_pending_sessions,
        )

    def claim_window_has(self, height: int) -> bool:
        """Return whether a claim in block `height` is in time."""
        return self.claim_open <= height <= self.claim_close

    def proof_window_has(self, height: int) -> bool:
        """Return whether a proof in block `height` is in time."""
        return self.proof_open <= height <= self.proof_close


class RequestTiming(enum.Enum):
    """Where a request stands in the life of its session."""

    ACTIVE = "active"
    GRACE = "grace"  # the session is over, requests are still served
    EXPIRED = "expired"


def request_timing(windows: Windows, current_height: int) -> RequestTiming:
    """Return the timing of a request at `current_height`; 0 means not known and counts as active."""
    if current_height <= windows.session_end:
        return RequestTiming.ACTIVE
    return RequestTiming.GRACE if current_height <= windows.grace_end else RequestTiming.EXPIRED


def lookup_height(windows: Windows, session_start_height: int, current_height: int) -> Height:
    """Return the height to ask the chain for a request's session (spec/relayer.md §2.5).

    Raises `SessionExpired` when the grace period is over.
    """
    timing = request_timing(windows, current_height)
    if timing is RequestTiming.ACTIVE:
        return Height(session_start_height)
    if timing is RequestTiming.GRACE:
        return windows.session_end
    raise SessionExpired(
        "session timing validation failed: session expired, "
        f"session end height: {windows.session_end}, current height: {current_height} (grace period elapsed)"
    )


def is_minable(windows: Windows, height: int, age_s: float, block_time_s: float) -> bool:
    """Return whether a relay whose answer is ready now still goes into the session's tree (decisions.md C2).

    `height` is the last block seen, `age_s` seconds ago. Blocks that are due by now but not yet seen count,
    so that a late block message lets nothing slip in behind the claim. A clock that runs behind the block's
    time (negative age) counts as age 0. Raises `UnusableClock`.
    """
    if not (math.isfinite(age_s) and math.isfinite(block_time_s) and block_time_s > 0):
        raise UnusableClock(age_s=age_s, block_time_s=block_time_s)
    blocks_due = math.floor(max(age_s, 0.0) / block_time_s)
    return height + blocks_due < windows.claim_open


def settling_session_ends(history: ParamsHistory, height: int) -> tuple[Height, ...]:
    """Return the session end heights whose claims the end of block `height` settles (spec/chain.md §6.4).

    The live parameters and every recorded snapshot name one candidate each, live first, then latest first;
    a candidate whose proof window, by the parameters at its own height, has not closed is left for its block.
    After windows grew a height is named a second time; its claims are gone by then.
    """
    epochs = (
        history.live,
        *(s.params for s in reversed(history.snapshots) if s.effective_height <= height),
    )
    candidates = dict.fromkeys(height - params.tail_blocks - 1 for params in epochs)
    return tuple(Height(end) for end in candidates if end >= 0 and height > end + history.at(end).tail_blocks)
