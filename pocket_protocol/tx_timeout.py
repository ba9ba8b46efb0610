"""When a transaction times out: how long it may live, and the instant that is its nonce (decisions.md C3, spec/chain.md §7)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

NANOS: Final = 1_000_000_000
CHAIN_LIMIT_S: Final = 600  # the chain refuses a timeout later than its block time plus this
SKEW_S: Final = 60
MIN_TTL_S: Final = 120
MAX_TTL_S: Final = 590


def ttl_s(
    remaining_blocks: int | None,
    block_time_s: float,
    *,
    skew_s: float = SKEW_S,
    min_s: float = MIN_TTL_S,
    max_s: float = MAX_TTL_S,
) -> float:
    """Return how many seconds a transaction may wait when its window has `remaining_blocks` left.

    clamp(remaining_blocks * block_time_s - skew_s, min_s, max_s); min_s without a window.
    """
    if remaining_blocks is None:
        return min_s
    return max(min_s, min(max_s, remaining_blocks * block_time_s - skew_s))


def timeout_timestamp_ns(
    *,
    supplier: str,
    session_end_height: int,
    phase: str,
    member_ids: Sequence[str],
    attempt: int,
    anchor_ns: int,
    ttl_s: float,
) -> int:
    """Return the timeout of one attempt, in nanoseconds since the epoch.

    The same for everyone who sends the same members in the same attempt from the same anchor (a block's
    time that all of them read off the chain), whatever the members' order: the chain then takes one of
    their transactions only. Anything else differs in the nanoseconds, since the timeout is the nonce
    of a supplier's unordered transactions. It lies less than two seconds before anchor + ttl, never
    after. Raises ValueError for a ttl over the chain's limit.
    """
    if not 2 <= ttl_s <= CHAIN_LIMIT_S:
        raise ValueError(f"time to live must be 2..{CHAIN_LIMIT_S} s, got {ttl_s}")
    parts = [supplier, str(session_end_height), phase, str(attempt), *sorted(member_ids)]
    digest = sha256(
        b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    ).digest()
    latest_s = (anchor_ns + int(ttl_s * NANOS)) // NANOS
    return (latest_s - 1) * NANOS + int.from_bytes(digest[:8], "big") % (NANOS - 1) + 1
