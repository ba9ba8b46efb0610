"""What a claim is worth (spec/chain.md §5.1, §5.2).

Difficulty and the two price parameters are those at the session's start. One exact rational, one floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from pocket_protocol.difficulty import multiplier
from pocket_protocol.errors import Malformed, Refused
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.types import Upokt

ROOT_BYTES: Final = 48  # 32-byte digest, sum and count as big-endian uint64
_UINT64: Final = 2**64


class MalformedRoot(Malformed):
    """A root hash that is not 48 bytes."""

    reason = "malformed_root"
    summary = "root hash is not 48 bytes"


class NoPrice(Refused):
    """A cost granularity of 0: compute units have no price."""

    reason = "no_price"
    summary = "compute unit cost granularity is 0"


@dataclass(frozen=True, slots=True)
class ClaimedWork:
    """What a claim's root says was served: compute units and relays, both counted relays only."""

    compute_units: int
    relays: int

    @classmethod
    def of_root(cls, root_hash: bytes) -> ClaimedWork:
        """Return the work a 48-byte root claims. Raises `MalformedRoot`."""
        if len(root_hash) != ROOT_BYTES:
            raise MalformedRoot(length=len(root_hash))
        return cls(int.from_bytes(root_hash[32:40], "big"), int.from_bytes(root_hash[40:48], "big"))


def price_per_compute_unit(params: SharedParams) -> Fraction:
    """Return uPOKT per compute unit, exactly. Raises `NoPrice`."""
    if params.compute_unit_cost_granularity == 0:
        raise NoPrice()
    return Fraction(params.compute_units_to_tokens_multiplier, params.compute_unit_cost_granularity)


def claimed_upokt(work: ClaimedWork, target: bytes, params: SharedParams) -> Upokt:
    """Return what `work` is worth under difficulty `target`. Raises `UnusableTarget`, `NoPrice`."""
    return Upokt(int(work.compute_units * multiplier(target) * price_per_compute_unit(params)))


def estimated_compute_units(work: ClaimedWork, target: bytes) -> int:
    """Return the compute units served in all, as the uint64 the chain's events carry. Raises `UnusableTarget`."""
    return int(work.compute_units * multiplier(target)) % _UINT64


def estimated_relays(work: ClaimedWork, target: bytes) -> int:
    """Return the relays served in all, as the chain's events have it; 0 when the root's counts allow none."""
    if work.relays == 0 or work.compute_units < work.relays:
        return 0
    return estimated_compute_units(work, target) // (work.compute_units // work.relays)
